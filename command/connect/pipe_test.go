package connect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what takes no time unless it is broken.
const patience = 10 * time.Second

// A fakeRelay is a TCP connection to a target that has all a relay has.
type fakeRelay struct {
	*net.TCPConn
	plain    bool
	shutdown error
	reset    chan struct{}
	told     bool // of a reset, which Shutdown waits for
}

func (r *fakeRelay) Reset() error {
	close(r.reset)
	_ = r.SetLinger(0)
	return r.Close()
}

func (r *fakeRelay) Shutdown(context.Context) error {
	select {
	case <-r.reset:
		r.told = true
	default:
	}
	return errors.Join(r.shutdown, r.Close())
}

func (r *fakeRelay) Resumable() bool { return !r.plain }

// newPair returns a relay and its target.
func newPair(t *testing.T) (*fakeRelay, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	for _, conn := range []net.Conn{a, b} {
		_ = conn.SetDeadline(time.Now().Add(patience))
	}
	return &fakeRelay{TCPConn: a.(*net.TCPConn), reset: make(chan struct{})}, b.(*net.TCPConn)
}

// An output is what has come, and is closed by the end.
type output struct {
	bytes.Buffer
	closed chan struct{}
	broken error
}

func newOutput() *output { return &output{closed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	if o.broken != nil {
		return 0, o.broken
	}
	return o.Buffer.Write(p)
}

func (o *output) Close() error {
	close(o.closed)
	return nil
}

func piped(ctx context.Context, relay Relay, in io.Reader, out io.WriteCloser, alone bool) <-chan error {
	done := make(chan error, 1)
	go func() { done <- pipe(ctx, relay, in, out, alone) }()
	return done
}

func wait(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("the pipe doesn't end")
		return nil
	}
}

// wantReset fails unless the target's connection was reset.
func wantReset(t *testing.T, target *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, target); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target reads %v, want a reset", err)
	}
}

// The input's end is the target's, which may still answer; its end is the output's.
func TestHalfClose(t *testing.T) {
	relay, target := newPair(t)
	out := newOutput()
	done := piped(t.Context(), relay, strings.NewReader("question"), out, false)
	if asked, err := io.ReadAll(target); string(asked) != "question" || err != nil {
		t.Fatalf("the target reads %q, %v", asked, err)
	}
	_, _ = target.Write([]byte("answer"))
	target.Close()
	if err := wait(t, done); err != nil || out.String() != "answer" {
		t.Errorf("%q comes, %v", out, err)
	}
	<-out.closed
}

// Without half-close a target that answers is waited for, and a silent one for a while.
func TestPlainWay(t *testing.T) {
	relay, target := newPair(t)
	relay.plain = true
	out := newOutput()
	begun := time.Now()
	done := piped(t.Context(), relay, strings.NewReader("question"), out, false)
	b := make([]byte, len("question"))
	if _, err := io.ReadFull(target, b); err != nil {
		t.Fatal(err)
	}
	_, _ = target.Write([]byte("answer"))
	if err := wait(t, done); err != errSilent || out.String() != "answer" || time.Since(begun) < lastAnswer {
		t.Errorf("%q comes after %v, %v", out, time.Since(begun), err)
	}
}

// At a terminal the target's end is the end.
func TestTargetEnds(t *testing.T) {
	for _, alone := range []bool{false, true} {
		relay, target := newPair(t)
		in, typing := io.Pipe()
		out := newOutput()
		done := piped(t.Context(), relay, in, out, alone)
		target.CloseWrite()
		<-out.closed
		if !alone {
			_, _ = typing.Write([]byte("more"))
			typing.Close()
			if more, err := io.ReadAll(target); string(more) != "more" || err != nil {
				t.Errorf("the target that has ended its side reads %q, %v", more, err)
			}
		}
		if err := wait(t, done); err != nil {
			t.Error(err)
		}
		typing.Close()
	}
}

// What is cut never looks whole.
func TestCutIsReset(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]func(t *testing.T, relay *fakeRelay, target *net.TCPConn) error{
		"the input breaks": func(t *testing.T, relay *fakeRelay, _ *net.TCPConn) error {
			in, typing := io.Pipe()
			typing.CloseWithError(broken)
			return wait(t, piped(t.Context(), relay, in, newOutput(), false))
		},
		"the output breaks": func(t *testing.T, relay *fakeRelay, target *net.TCPConn) error {
			in, typing := io.Pipe()
			defer typing.Close()
			out := newOutput()
			out.broken = broken
			_, _ = target.Write([]byte("answer"))
			return wait(t, piped(t.Context(), relay, in, out, false))
		},
		"a signal": func(t *testing.T, relay *fakeRelay, _ *net.TCPConn) error {
			in, typing := io.Pipe()
			defer typing.Close()
			ctx, cancel := context.WithCancel(t.Context())
			done := piped(ctx, relay, in, newOutput(), false)
			cancel()
			return errors.Join(wait(t, done), broken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			relay, target := newPair(t)
			if err := test(t, relay, target); !errors.Is(err, broken) {
				t.Error(err)
			}
			<-relay.reset
			wantReset(t, target)
			if !relay.told {
				t.Error("the process may end before the server has heard of it")
			}
		})
	}
}

// A signal behind the input's end is OpenSSH's, whose session is over.
func TestSignalAfterTheEnd(t *testing.T) {
	relay, target := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := piped(ctx, relay, strings.NewReader("all"), newOutput(), false)
	if all, err := io.ReadAll(target); string(all) != "all" || err != nil {
		t.Fatalf("the target reads %q, %v", all, err)
	}
	cancel()
	if err := wait(t, done); err != nil {
		t.Error(err)
	}
}

// Behind such a signal nobody reads of an end that the server has not confirmed.
func TestHangUpThatIsNotConfirmed(t *testing.T) {
	relay, target := newPair(t)
	relay.shutdown = errors.New("lost")
	ctx, cancel := context.WithCancel(t.Context())
	done := piped(ctx, relay, strings.NewReader("all"), newOutput(), false)
	if all, err := io.ReadAll(target); string(all) != "all" || err != nil {
		t.Fatalf("the target reads %q, %v", all, err)
	}
	cancel()
	if _, ok := errors.AsType[hangUpError](wait(t, done)); !ok {
		t.Error("it ends otherwise than by a signal")
	}
}

// How a relay ends is how the pipe does.
func TestShutdownFails(t *testing.T) {
	relay, target := newPair(t)
	relay.shutdown = errors.New("lost")
	done := piped(t.Context(), relay, strings.NewReader(""), newOutput(), false)
	target.Close()
	if err := wait(t, done); !errors.Is(err, relay.shutdown) {
		t.Errorf("the pipe ends with %v", err)
	}
}
