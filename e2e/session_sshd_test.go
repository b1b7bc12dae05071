package e2e

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	kit "wsproxy/internal/testkit/sshd"
)

// An sshd is a real OpenSSH server on the loopback interface.
type sshd struct {
	*kit.Server
	addr    *net.TCPAddr
	keyFile string // where the private half of its key is
}

// startSSHD starts an sshd with keys of its own, as the user who runs the
// tests. It ends with the test, and all its sessions.
func startSSHD(t *testing.T) *sshd {
	t.Helper()
	server := kit.Start(t)
	d := &sshd{
		Server:  server,
		addr:    &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: server.Port},
		keyFile: server.Write(t, "user_key", server.Key),
	}
	t.Cleanup(d.killSessions)
	return d
}

// sessions returns the ids of the processes that serve sessions: sshd's
// children and theirs, without the commands they run being told apart.
func (d *sshd) sessions() []int {
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (command) state parent ..., and the command may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		parents[parent] = append(parents[parent], pid)
	}
	var found []int
	for next := parents[d.Process.Pid]; len(next) > 0; next = next[1:] {
		found = append(found, next[0])
		next = append(next, parents[next[0]]...)
	}
	return found
}

// killSessions ends all sessions at once, as if sshd had crashed.
func (d *sshd) killSessions() {
	for _, pid := range d.sessions() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
