package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// patience is how long a process may take to come up.
	patience = 15 * time.Second
	// lookEvery is how often its output is looked at meanwhile.
	lookEvery = 10 * time.Millisecond
)

// A Process is one that was started.
type Process struct {
	PID  int
	Addr string // where it listens, host:port; of expose, the host of its address

	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended
	output string        // path of what it writes
}

// Options say how a server is started.
type Options struct {
	Binary string   // the server's; "" for the reference
	Env    []string // NAME=VALUE, beside what all servers get
	Dir    string   // for outputs, one file each process
}

// serverEnv is what no load is to meet, and that nothing leaves this machine. Raw ports
// are as many as the loads need, where nothing else is likely to listen: below the
// ports that the kernel gives away.
func serverEnv() []string {
	first := 20_000 + 200*rand.IntN(50)
	return []string{
		"BIND=127.0.0.1", "PORT=0", "TUNNEL_BIND=127.0.0.1", "TUNNEL_DOMAIN=tunnel.localhost", "BLOCKED_TARGETS=none",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+199),
		"MAX_CONNS_PER_IP=100000", "MAX_CONNS_PER_USER=1000000", "MAX_TUNNEL_HTTP_PER_IP=100000", "MAX_TUNNEL_HTTP=100000",
		"MAX_TUNNEL_TCP_CONNS=100000", "MAX_TUNNEL_TCP_CONNS_GLOBAL=100000", "MAX_TUNNEL_TCP_PER_IP=100000", "MAX_HTTP_CONNS_PER_IP=100000",
		"MAX_HTTP_CONNS=100000",
	}
}

// Start starts a server.
func Start(ctx context.Context, o Options) (*Process, error) {
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return start(ctx, o.Dir, listening, append(os.Environ(), o.Env...), self, "reference")
	}
	// Of a name that is there twice the last counts. The rest of the environment is not
	// the server's.
	env := append(serverEnv(), o.Env...)
	return start(ctx, o.Dir, listening, env, o.Binary)
}

// Expose starts wsproxy expose with a service.
func Expose(ctx context.Context, o Options, server *Process, service string) (*Process, error) {
	env := append([]string{"HOME=" + o.Dir}, o.Env...)
	return start(ctx, o.Dir, exposed, env, o.Binary, "expose", "--json", "--quiet", "ws://"+server.Addr, service)
}

// start starts a program, and waits until find finds an address in what it writes.
func start(ctx context.Context, dir string, find func(output []byte) string, env []string, args ...string) (*Process, error) {
	out, err := os.CreateTemp(dir, filepath.Base(args[0])+"-*.log")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Process{cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{}), output: out.Name()}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.PID = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-p.ended:
			err = errors.New("it ended at once")
		case <-timeout.C:
			err = errors.New("it does not listen")
		case <-look.C:
			if p.Addr = find(p.Output()); p.Addr != "" {
				return p, nil
			}
		}
	}
	output := p.Output()
	p.Stop()
	return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(output[max(len(output)-500, 0):]))
}

// Output returns what the process has written, also when it has ended.
func (p *Process) Output() []byte {
	output, _ := os.ReadFile(p.output)
	return output
}

// Died reports whether the process has ended.
func (p *Process) Died() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stop ends the process, at once: nothing that it has is wanted any more.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// listening finds a server's address in its log.
func listening(output []byte) string {
	return find(output, func(line logLine) string {
		if line.Msg == "listening" {
			return line.Address
		}
		return ""
	})
}

// A logLine is one of a server, or an object that expose writes.
type logLine struct {
	Msg, Address string // of a server
	URL          string // of expose
}

// find returns the first that is found in a whole line.
func find(output []byte, in func(logLine) string) string {
	for line := range bytes.Lines(output) {
		var l logLine
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &l) == nil {
			if found := in(l); found != "" {
				return found
			}
		}
	}
	return ""
}

// exposed finds the host of the address that expose got.
func exposed(output []byte) string {
	return find(output, func(line logLine) string {
		_, host, _ := strings.Cut(line.URL, "://")
		return strings.TrimSuffix(host, "/")
	})
}
