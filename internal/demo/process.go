package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

const (
	// drainTime is how long output may pause after the shell has ended, when
	// something in the background keeps the terminal open.
	drainTime = 250 * time.Millisecond
	// hangUpTime is how long what runs may take to end after its client has gone.
	hangUpTime = 2 * time.Second
)

// A process is what runs in a session: a shell, a command, or, without a command
// of its own, file transfers.
type process struct {
	begin func() // runs it to its end, and tells the client how it ended

	mu       sync.Mutex
	cmd      *exec.Cmd // under mu; nil if it has none, or has ended
	terminal *os.File  // under mu; nil without one, or when that is closed
	pipes    []*os.File
}

// startProcess starts a command whose input and output are the channel's.
func startProcess(cmd *exec.Cmd, size *pty.Winsize, channel ssh.Channel) (*process, error) {
	if size != nil {
		return startInTerminal(cmd, size, channel)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // its group is what signals go to
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, pipes: []*os.File{stdout.(*os.File), stderr.(*os.File)}}
	p.begin = func() {
		go func() {
			_, _ = io.Copy(stdin, channel)
			stdin.Close()
		}()
		var output sync.WaitGroup // of all that it has started and that still writes, too
		output.Go(func() { _, _ = io.Copy(channel, stdout) })
		output.Go(func() { _, _ = io.Copy(channel.Stderr(), stderr) })
		output.Wait()
		_ = cmd.Wait()
		p.ended()
		tellEnd(channel, cmd.ProcessState)
	}
	return p, nil
}

func startInTerminal(cmd *exec.Cmd, size *pty.Winsize, channel ssh.Channel) (*process, error) {
	terminal, err := pty.StartWithSize(cmd, size)
	if err != nil {
		return nil, err
	}
	terminal = withDeadlines(terminal)
	p := &process{cmd: cmd, terminal: terminal}
	p.begin = func() {
		go func() { _, _ = io.Copy(terminal, channel) }() // ends with the channel, or the terminal
		var over atomic.Bool
		var output sync.WaitGroup
		output.Go(func() { drain(channel, terminal, &over) })
		_ = cmd.Wait()
		_ = terminal.SetReadDeadline(time.Now()) // drain sets the next one
		over.Store(true)
		output.Wait()
		p.ended()
		terminal.Close()
		tellEnd(channel, cmd.ProcessState)
	}
	return p, nil
}

// withDeadlines returns a terminal whose reading can be ended, by a deadline and
// by Close: the library leaves it so that it can't. Where that isn't possible,
// the end of the shell ends the reading.
func withDeadlines(terminal *os.File) *os.File {
	if runtime.GOOS != "linux" {
		return terminal
	}
	fd, err := unix.FcntlInt(terminal.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return terminal
	}
	if unix.SetNonblock(fd, true) != nil {
		unix.Close(fd)
		return terminal
	}
	terminal.Close()
	return os.NewFile(uintptr(fd), terminal.Name())
}

// drain copies a terminal's output until nothing has it open any more. When over
// is set, and the reading is woken, it ends too when nothing comes for a while;
// how long a slow client takes to be sent what has come does not count.
func drain(to io.Writer, terminal *os.File, over *atomic.Bool) {
	piece := make([]byte, 32<<10)
	for {
		last := over.Load()
		if last {
			_ = terminal.SetReadDeadline(time.Now().Add(drainTime))
		}
		n, err := terminal.Read(piece)
		if _, failed := to.Write(piece[:n]); failed != nil {
			return
		}
		if err != nil && (last || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return
		}
	}
}

// ended has no signals sent any more: the number may soon be another's.
func (p *process) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.terminal = nil, nil
}

// resize reports whether there is a terminal that has that size now.
func (p *process) resize(size *pty.Winsize) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.terminal != nil && control(p.terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	}) == nil
}

// signal sends a signal to what is in the foreground, or without a terminal to
// all that the command has started.
func (p *process) signal(signal syscall.Signal) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	group := p.cmd.Process.Pid
	if p.terminal != nil {
		if foreground := foregroundOf(p.terminal); foreground > 0 {
			group = foreground
		}
	}
	return syscall.Kill(-group, signal) == nil
}

// foregroundOf returns the process group that a terminal's keys are for, 0 if it
// isn't known.
func foregroundOf(terminal *os.File) (group int) {
	_ = control(terminal, func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return group
}

// control does something with a descriptor, and leaves its mode as it is: Fd
// would have reading block.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if failed := raw.Control(func(fd uintptr) { err = do(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// hangUp ends what runs, as the end of a line does: it is asked first, and then
// killed. What has left for a session of its own stays, as with any sshd.
func (p *process) hangUp(done <-chan struct{}) {
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGKILL} {
		p.signal(signal)
		p.mu.Lock()
		if p.cmd != nil {
			_ = syscall.Kill(-p.cmd.Process.Pid, signal)
		}
		p.mu.Unlock()
		select {
		case <-done:
			return
		case <-time.After(hangUpTime):
		}
	}
	for _, pipe := range p.pipes { // that somebody who has left holds open
		pipe.Close()
	}
}
