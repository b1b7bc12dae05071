package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// launchVariable carries a launching to the role "launch". It is not passed on
// to the server.
const launchVariable = "ATTACK_LAUNCH"

// A launching says how the server is started.
type launching struct {
	Binary      string
	Group       string   // folder of the memory group; "" for none
	Descriptors uint64   // RLIMIT_NOFILE, both limits
	Hosts       string   // file that it sees as /etc/hosts; "" for the machine's own
	Env         []string // all of it
}

// launch becomes the server. It returns only when it can't.
func launch() error {
	var l launching
	if err := json.Unmarshal([]byte(os.Getenv(launchVariable)), &l); err != nil {
		return err
	}
	if l.Group != "" {
		if err := os.WriteFile(filepath.Join(l.Group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return fmt.Errorf("into the memory group: %w", err)
		}
	}
	// The server is a Go program too, and raises the soft limit to the hard one.
	limit := syscall.Rlimit{Cur: l.Descriptors, Max: l.Descriptors}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		var has syscall.Rlimit
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &has) != nil || has.Max > l.Descriptors {
			return fmt.Errorf("the limit of descriptors: %w", err)
		}
	}
	if l.Hosts != "" {
		runtime.LockOSThread() // exec keeps the namespace of the thread that calls it
		err := syscall.Unshare(syscall.CLONE_NEWNS)
		if err == nil {
			err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		if err == nil {
			err = syscall.Mount(l.Hosts, "/etc/hosts", "", syscall.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("an /etc/hosts of its own: %w", err)
		}
	}
	return syscall.Exec(l.Binary, []string{l.Binary}, l.Env)
}

// groupRoot is where the memory controller is mounted, if it is.
const groupRoot = "/sys/fs/cgroup/memory"

// groupPrefix begins the names of this program's memory groups.
const groupPrefix = "wsproxy-attack-"

// newGroup makes a memory group with a limit in bytes, or returns "" where the
// machine doesn't permit that.
func newGroup(limit int64) string {
	path := filepath.Join(groupRoot, groupPrefix+strconv.Itoa(os.Getpid()))
	// Those of runs that were killed; one that is in use can't be removed.
	left, _ := filepath.Glob(filepath.Join(groupRoot, groupPrefix+"*"))
	for _, old := range left {
		_ = os.Remove(old)
	}
	if os.Mkdir(path, 0o755) != nil {
		return ""
	}
	set := func(name string, n int64) bool {
		return os.WriteFile(filepath.Join(path, name), []byte(strconv.FormatInt(n, 10)), 0) == nil
	}
	if !set("memory.limit_in_bytes", limit) {
		_ = os.Remove(path)
		return ""
	}
	// Sockets are counted only once they have a limit. It is far above the
	// memory's: newer systems have one limit for both, which judge looks at.
	set("memory.kmem.tcp.limit_in_bytes", 16*limit)
	return path
}
