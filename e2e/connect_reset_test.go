package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// A connect that is ended in the middle, or whose output nobody reads any more, has its
// target reset before it is gone: else the server would wait for it to come back.
func TestConnectThatIsCutResetsItsTarget(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	for _, how := range []string{"a signal", "no reader"} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c := connectCommand(t, "ws://"+s.addr, "127.0.0.1", port)
		in, _ := c.StdinPipe() // it has no end
		defer in.Close()
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stdout = writer
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		writer.Close()
		target, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		_ = target.SetDeadline(time.Now().Add(patience))
		_, _ = target.Write([]byte("x"))
		if _, err := io.ReadFull(reader, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		reader.Close()
		if how == "a signal" {
			_ = c.Process.Signal(syscall.SIGTERM)
		} else {
			_, _ = target.Write([]byte("y"))
		}
		if _, err := target.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the target reads %v", how, err)
		}
		if _ = c.Wait(); c.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: the exit status is %v", how, c.ProcessState)
		}
	}
}
