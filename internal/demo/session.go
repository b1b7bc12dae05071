package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// maxVariables bounds what a client may set.
const maxVariables = 32

// A session is one channel, in which one thing runs.
type session struct {
	channel ssh.Channel

	// What was asked for before it runs.
	terminal *pty.Winsize // nil without a terminal
	env      []string

	running *process // nil before
	done    chan struct{}
}

// runSession answers a channel's requests until it is closed, and ends what it
// runs then.
func runSession(asked ssh.NewChannel) {
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	s := &session{channel: channel, done: make(chan struct{})}
	for request := range requests {
		ok := s.answer(request)
		if request.WantReply {
			_ = request.Reply(ok, nil)
		}
		if ok && s.running != nil && s.running.begin != nil {
			begin := s.running.begin // behind the reply, as clients expect it
			s.running.begin = nil
			go func() {
				defer close(s.done)
				begin()
			}()
		}
	}
	if s.running != nil {
		s.running.hangUp(s.done)
		<-s.done
	}
	channel.Close()
}

// answer does what is asked for, or reports that it can't be.
func (s *session) answer(request *ssh.Request) bool {
	switch request.Type {
	case "pty-req":
		var asked struct {
			Term                         string
			Cols, Rows, XPixels, YPixels uint32
			Modes                        string
		}
		if s.running != nil || ssh.Unmarshal(request.Payload, &asked) != nil {
			return false
		}
		s.terminal = winsize(asked.Cols, asked.Rows)
		s.env = append(s.env, "TERM="+asked.Term)
		return true
	case "env":
		var asked struct{ Name, Value string }
		if s.running != nil || ssh.Unmarshal(request.Payload, &asked) != nil || !isSettable(asked.Name) || len(s.env) >= maxVariables {
			return false
		}
		s.env = append(s.env, asked.Name+"="+asked.Value)
		return true
	case "shell":
		return s.start("")
	case "exec":
		var asked struct{ Command string }
		return ssh.Unmarshal(request.Payload, &asked) == nil && asked.Command != "" && s.start(asked.Command)
	case "subsystem":
		var asked struct{ Name string }
		return ssh.Unmarshal(request.Payload, &asked) == nil && asked.Name == "sftp" && s.startFiles()
	case "window-change":
		var asked struct{ Cols, Rows, XPixels, YPixels uint32 }
		return ssh.Unmarshal(request.Payload, &asked) == nil && s.running.resize(winsize(asked.Cols, asked.Rows))
	case "signal":
		var asked struct{ Name string }
		if ssh.Unmarshal(request.Payload, &asked) != nil {
			return false
		}
		signal, known := signals[asked.Name]
		return known && s.running.signal(signal)
	}
	return false
}

func winsize(cols, rows uint32) *pty.Winsize {
	const most = 10_000 // of either; a terminal has some hundreds
	return &pty.Winsize{Cols: uint16(min(cols, most)), Rows: uint16(min(rows, most))}
}

// isSettable says which variables a client may set: those of an sshd as Debian
// configures it, and whether there are colours.
func isSettable(name string) bool {
	return name == "LANG" || name == "COLORTERM" || strings.HasPrefix(name, "LC_")
}

// shell is that of whoever runs this.
func shell() string {
	if path := os.Getenv("SHELL"); path != "" {
		return path
	}
	return "/bin/sh"
}

// ownEnv is what a shell has of this process's environment: what sshd would give
// it. The rest is make's and the server's, and means nothing there.
func ownEnv() []string {
	kept := []string{"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"}
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return !slices.Contains(kept, name) && !strings.HasPrefix(name, "LC_")
	})
}

// start starts a command in a shell, or with "" the shell itself.
func (s *session) start(command string) bool {
	if s.running != nil {
		return false
	}
	path := shell()
	cmd := exec.Command(path)
	if command == "" {
		cmd.Args = []string{"-" + path[strings.LastIndexByte(path, '/')+1:]} // as a login shell
	} else {
		cmd.Args = append(cmd.Args, "-c", command)
	}
	cmd.Env = append(ownEnv(), s.env...)
	if home, err := os.UserHomeDir(); err == nil {
		cmd.Dir = home
	}
	p, err := startProcess(cmd, s.terminal, s.channel)
	if err != nil {
		_, _ = io.WriteString(s.channel.Stderr(), "The demo can't start "+path+": "+err.Error()+"\r\n")
		return false
	}
	s.running = p
	return true
}

// startFiles starts a server for file transfers.
func (s *session) startFiles() bool {
	if s.running != nil {
		return false
	}
	var options []sftp.ServerOption
	if home, err := os.UserHomeDir(); err == nil {
		options = append(options, sftp.WithServerWorkingDirectory(home))
	}
	files, err := sftp.NewServer(s.channel, options...)
	if err != nil {
		return false
	}
	s.running = &process{begin: func() {
		status := uint32(0)
		if err := files.Serve(); err != nil && !errors.Is(err, io.EOF) {
			status = 1
		}
		files.Close()
		tellStatus(s.channel, status)
	}}
	return true
}

// signals are those that a client may send, and be told of (RFC 4254, section
// 6.10).
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL,
	"INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// tellStatus says how it ended, and closes the channel.
func tellStatus(channel ssh.Channel, status uint32) {
	_ = channel.CloseWrite()
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	channel.Close()
}

// tellEnd does the same for a process that has ended.
func tellEnd(channel ssh.Channel, state *os.ProcessState) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		tellStatus(channel, uint32(max(state.ExitCode(), 0)))
		return
	}
	name := "TERM"
	for n, signal := range signals {
		if signal == status.Signal() {
			name = n
		}
	}
	_ = channel.CloseWrite()
	_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name    string
		Core    bool
		Message string
		Lang    string
	}{name, status.CoreDump(), status.Signal().String(), ""}))
	channel.Close()
}
