package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"wsproxy/internal/attack/neighbour"
	"wsproxy/internal/attack/wire"
)

// A child is a process of this program.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ended chan struct{} // closed when the process has ended
}

func startChild(env []string, arguments ...string) (*child, error) {
	c := &child{cmd: exec.Command(os.Args[0], arguments...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	// It ends when this process is killed.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	read, write, err := os.Pipe() // not StdoutPipe, which Wait closes
	if err != nil {
		return nil, err
	}
	c.out, c.cmd.Stdout = bufio.NewReader(read), write
	err = c.cmd.Start()
	write.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// read reads what the child says next.
func (c *child) read(into any) error {
	said := make(chan error, 1)
	go func() {
		line, err := c.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, into)
		}
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-time.After(4 * wire.RequestLimit):
		return errors.New("it says nothing")
	}
}

// ask asks the neighbour how it went.
func (c *child) ask() (report map[string]neighbour.Measure, err error) {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		return nil, err
	}
	return report, c.read(&report)
}

// end ends the process.
func (c *child) end() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}
