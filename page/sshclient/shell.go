package sshclient

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// shellChunk is how much of a shell's output is passed on at once.
const shellChunk = 64 << 10

// ShellOptions say what to start.
type ShellOptions struct {
	// Term is the kind of terminal, such as "xterm-256color"; empty for none at all.
	Term       string
	Cols, Rows int
	Env        map[string]string // which servers may ignore
	Command    string            // empty for the user's shell
}

// A Shell is a program that runs on the server. Any goroutine may call its methods.
type Shell struct {
	client  *Client
	session *ssh.Session
	stdin   io.WriteCloser
	writing sync.Mutex // keeps what is written at once together
	ended   chan struct{}
	end     ShellEnd
}

// A ShellEnd says how a program has ended.
type ShellEnd struct {
	Status    int // of the exit, if HasStatus
	HasStatus bool
	Signal    string // that ended it, such as "KILL", or empty
	Message   string // a sentence when there is neither, or a message of the server's
}

// OpenShell starts a program. Its output goes to onData, in order, and no more is taken from the server
// than 2 MiB while onData has not returned. It is called from two goroutines, one for each of standard output
// and error, and may keep what it is given until it returns. An error of it closes the shell.
func (c *Client) OpenShell(ctx context.Context, o ShellOptions, onData func(data []byte, stderr bool) error) (*Shell, error) {
	type opened struct {
		shell *Shell
		err   error
	}
	done := make(chan opened, 1)
	go func() {
		shell, err := c.openShell(o, onData)
		done <- opened{shell, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				o.shell.Close()
			}
		}()
		return nil, failure(CodeCancelled, ctx.Err(), "The shell was called off.")
	case o := <-done:
		return o.shell, o.err
	}
}

func (c *Client) openShell(o ShellOptions, onData func([]byte, bool) error) (*Shell, error) {
	session, err := c.client.NewSession()
	if err != nil {
		return nil, c.explainOpen(err, "a session")
	}
	fail := func(err error, format string, args ...any) (*Shell, error) {
		session.Close()
		if c.isEnding() {
			<-c.ended
			return nil, &Error{Code: c.end.Reason, Message: c.end.Message, Err: err}
		}
		return nil, failure(CodeFailed, err, format, args...)
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		return fail(err, "%s has started no shell.", c.host)
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return fail(err, "%s has started no shell.", c.host)
	}
	stderr, err := session.StderrPipe()
	if err != nil {
		return fail(err, "%s has started no shell.", c.host)
	}
	for name, value := range o.Env {
		// Without an answer: most servers take few of them, and each would cost a way there and back.
		_, _ = session.SendRequest("env", false, ssh.Marshal(&struct{ Name, Value string }{name, value}))
	}
	if c.agent {
		_, _ = session.SendRequest("auth-agent-req@openssh.com", false, nil)
	}
	if o.Term != "" {
		// The server's own modes are what people are used to.
		if err := session.RequestPty(o.Term, max(o.Rows, 1), max(o.Cols, 1), ssh.TerminalModes{}); err != nil {
			return fail(err, "%s gives no terminal.", c.host)
		}
	}
	if o.Command == "" {
		err = session.Shell()
	} else {
		err = session.Start(o.Command)
	}
	if err != nil {
		return fail(err, "%s has started no shell.", c.host)
	}
	s := &Shell{client: c, session: session, stdin: stdin, ended: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() { s.pass(stdout, false, onData) })
	reading.Go(func() { s.pass(stderr, true, onData) })
	go func() {
		err := session.Wait()
		reading.Wait() // all that was printed comes before the end
		s.end = s.explain(err)
		close(s.ended)
	}()
	return s, nil
}

// pass passes output on, as fast as onData takes it.
func (s *Shell) pass(from io.Reader, stderr bool, onData func([]byte, bool) error) {
	buffer := make([]byte, shellChunk)
	for {
		n, err := from.Read(buffer)
		if n > 0 && onData(buffer[:n], stderr) != nil {
			s.Close()
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *Shell) explain(err error) ShellEnd {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return ShellEnd{HasStatus: true}
	case errors.As(err, &exit) && exit.Signal() != "":
		return ShellEnd{Signal: Printable(exit.Signal(), 64), Message: Printable(exit.Msg(), maxReason)}
	case errors.As(err, &exit):
		return ShellEnd{Status: exit.ExitStatus(), HasStatus: true}
	}
	if s.client.isEnding() {
		<-s.client.ended
		return ShellEnd{Message: s.client.end.Message}
	}
	return ShellEnd{Message: "The shell has ended without saying how."}
}

// Write sends input. It returns when the server has room for all of it, or the shell has ended.
func (s *Shell) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n, err := s.stdin.Write(p)
	if err != nil {
		return n, failure(CodeNetwork, err, "The shell takes no more input: it has ended.")
	}
	return n, nil
}

// CloseInput tells the program that there is no more input.
func (s *Shell) CloseInput() error { return s.stdin.Close() }

// Resize tells the size of the terminal, in characters.
func (s *Shell) Resize(cols, rows int) error {
	return s.session.WindowChange(max(rows, 1), max(cols, 1))
}

// Signal sends a signal, such as "INT". Servers may ignore it.
func (s *Shell) Signal(name string) error { return s.session.Signal(ssh.Signal(name)) }

// Close ends the shell.
func (s *Shell) Close() { s.session.Close() }

// Ended is closed when the program has ended, and all its output has been passed on.
func (s *Shell) Ended() <-chan struct{} { return s.ended }

// End says how the program has ended. It waits for that.
func (s *Shell) End() ShellEnd {
	<-s.ended
	return s.end
}
