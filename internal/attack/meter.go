package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sampleEvery is how often the memory is looked at: what a container is killed
// for may be there for a moment only.
const sampleEvery = 25 * time.Millisecond

// Peaks are the most that was seen, in bytes; -1 where it can't be seen.
type peaks struct {
	resident int64 // of the process
	charged  int64 // the group's memory and its sockets' together, as a container is charged; else resident
	sockets  int64 // of the group's sockets; else of all the machine's, less what was there before
}

// meter samples until stop is closed, and then sends what it has seen.
func (s *server) meter(stop <-chan struct{}) <-chan peaks {
	result := make(chan peaks, 1)
	before := machineSockets()
	go func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		var most peaks
		for {
			resident := residentSize(s.pid)
			memory, sockets := groupValue(s.group, "memory.usage_in_bytes"), groupValue(s.group, "memory.kmem.tcp.usage_in_bytes")
			if sockets < 0 {
				sockets = machineSockets() - before
			}
			if memory < 0 {
				memory = resident
			}
			most.resident = max(most.resident, resident)
			most.sockets = max(most.sockets, sockets)
			most.charged = max(most.charged, memory+max(sockets, 0))
			select {
			case <-tick.C:
			case <-stop:
				result <- most
				return
			}
		}
	}()
	return result
}

// residentSize is the RSS of a process, 0 when it is gone.
func residentSize(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// groupValue reads a number of a memory group, -1 if there is none.
func groupValue(group, name string) int64 {
	if group == "" {
		return -1
	}
	text, err := os.ReadFile(filepath.Join(group, name))
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// machineSockets is the memory of all TCP sockets.
func machineSockets() int64 {
	text, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "TCP:" {
			pages, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			return pages * int64(os.Getpagesize())
		}
	}
	return 0
}
