package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"wsproxy/internal/attack/play"
)

// tunnelDomain is the TUNNEL_DOMAIN of the server.
const tunnelDomain = "tunnel.test"

// patience is how long a process may take to come up, or to end.
const patience = 15 * time.Second

// A server is one process of the binary under attack.
type server struct {
	addr  string // of the HTTP listener
	pid   int
	log   *serverLog
	group string
	ended chan struct{} // closed when the process has ended
	cmd   *exec.Cmd
}

// serverEnv is the environment of the server: the deployment's, but that it is
// on loopback and that relays may lead there. The raw ports are as many as the
// deployment has, at a place that nobody else uses.
func serverEnv(d deployment, access *play.AccessFiles) []string {
	first := 12_000 + 101*rand.IntN(180)
	// The first of a name counts.
	env := []string{"BIND=127.0.0.1", "PORT=0", "TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "ALLOWED_TARGETS=127.0.0.0/8",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+100)}
	if access != nil {
		env = append(env, "SSL_CERT_FILE="+access.Authority, "SSL_CERT_DIR=/nonexistent")
	}
	return append(env, d.env...)
}

// startServer starts the binary and waits until it listens.
func startServer(binary string, d deployment, access *play.AccessFiles) (*server, error) {
	l := launching{Binary: binary, Group: newGroup(d.memory), Descriptors: d.descriptors, Env: serverEnv(d, access)}
	if access != nil {
		l.Hosts = access.Hosts
	}
	order, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	s := &server{group: l.Group, ended: make(chan struct{}), log: &serverLog{counts: map[string]int{}, listening: make(chan string, 1)}}
	s.cmd = exec.Command(os.Args[0], "launch")
	s.cmd.Env = append(os.Environ(), launchVariable+"="+string(order))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends when this process is killed
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout = s.cmd.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.pid = s.cmd.Process.Pid
	go func() {
		s.log.read(pipe)
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	select {
	case s.addr = <-s.log.listening:
		return s, nil
	case <-s.ended:
		err = errors.New("the server ended at once")
	case <-time.After(patience):
		err = errors.New("the server does not listen")
	}
	s.stop()
	return nil, fmt.Errorf("%w: %s", err, s.log.last())
}

// stop ends the process, and its group.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	if s.group != "" {
		for range 100 { // the kernel takes a moment to see the group empty
			if os.Remove(s.group) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// died says how the process ended by itself, or "".
func (s *server) died() string {
	select {
	case <-s.ended:
	default:
		return ""
	}
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return "killed for its memory"
	}
	return "ended: " + s.cmd.ProcessState.String() + ": " + s.log.last()
}

// A serverLog counts what the server writes.
type serverLog struct {
	listening chan string

	mu     sync.Mutex
	bytes  int64          // under mu, like all below
	counts map[string]int // of lines, by message and reason
	line   string
}

func (l *serverLog) read(from io.Reader) {
	in := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			l.note(line)
		}
		if err != nil {
			return
		}
	}
}

func (l *serverLog) note(line string) {
	var fields struct{ Msg, Reason, Address string }
	if json.Unmarshal([]byte(line), &fields) != nil {
		fields.Msg = "no JSON"
	}
	if fields.Msg == "listening" {
		select {
		case l.listening <- fields.Address:
		default:
		}
	}
	kind := fields.Msg
	if fields.Reason != "" {
		kind += ": " + fields.Reason
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += int64(len(line))
	l.counts[kind]++
	l.line = line
}

func (l *serverLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.line)
}

// take returns what was written since the last call: bytes, and the kind of
// line that came most often.
func (l *serverLog) take() (bytes int64, kind string, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range l.counts {
		if n > lines {
			kind, lines = k, n
		}
	}
	bytes, l.bytes, l.counts = l.bytes, 0, map[string]int{}
	return bytes, kind, lines
}
