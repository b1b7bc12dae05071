package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A Relay is what the two ends are joined to: a *wsproxy.Conn.
type Relay interface {
	net.Conn
	// CloseWrite ends the sending side alone.
	CloseWrite() error
	// Reset has the target's connection reset, and doesn't wait for that.
	Reset() error
	// Shutdown closes, and returns nil only if everything has arrived and the server
	// has ended it in order. Behind Reset it waits for the end.
	Shutdown(ctx context.Context) error
	// Resumable reports whether the relay outlives its WebSocket. One that doesn't
	// has no half-close.
	Resumable() bool
}

const (
	copySize = 64 << 10
	// orderly is how long the end may take that both sides have agreed to, beyond
	// what it takes to deliver what was written before.
	orderly = 15 * time.Second
	// hangUp is the same for whoever was told to end: OpenSSH sends SIGHUP when its
	// session is over, and does not wait. It is time for a few tries to take a session up,
	// of which each may wait 10 s in vain for the answer to its close frame, so that the
	// server does not wait for the session for a quarter of an hour.
	hangUp = 30 * time.Second
	// resetLimit is how long the server may take to hear of a reset: somebody may be
	// waiting for the end at a keyboard.
	resetLimit = 3 * time.Second
	// lastInput is how long the input's end may come behind a signal: OpenSSH closes
	// its pipes and sends SIGHUP right after.
	lastInput = 200 * time.Millisecond
)

// lastAnswer is how long a target that can't be told of the input's end may say nothing
// until the relay is closed, which is what it is told.
const lastAnswer = 3 * time.Second

// errSilent is of a target that may have had more to say.
var errSilent = fmt.Errorf("the target said nothing for %v behind the end of the input, and without resume it can't be told of that end but by closing", lastAnswer)

// errInterrupted is of a pipe that a signal has ended before its input had.
var errInterrupted = errors.New("interrupted: the target's connection was reset")

// pipe joins an input and an output to a relay until both directions have ended. The
// input's end becomes one of the relay's sending side alone; the relay's closes the
// output. If alone is true the target's end is the end of both: nobody at a
// terminal would know that an end of input is waited for.
//
// What was cut never looks whole: when the input breaks, the output can't be written
// or ctx ends before the input has, the target's connection is reset. nil means that
// both directions have arrived to the last byte. It owns the relay.
func pipe(ctx context.Context, relay Relay, in io.Reader, out io.WriteCloser, alone bool) error {
	type end struct {
		up  bool
		err error
	}
	ends := make(chan end, 2)
	var inputEnded atomic.Bool // and the relay's sending side can't be ended by itself
	var silent atomic.Bool     // the target, since
	go func() { ends <- end{true, copyUp(relay, in)} }()
	go func() { ends <- end{false, copyDown(out, relay, &inputEnded, &silent)} }()

	told := ctx.Done()
	var late <-chan time.Time
	for upEnded, downEnded := false, false; !upEnded || !downEnded; {
		select {
		case e := <-ends:
			if e.err != nil {
				reset(relay)
				if upEnded && ctx.Err() != nil {
					return hungUp(e.err)
				}
				return e.err
			}
			upEnded, downEnded = upEnded || e.up, downEnded || !e.up
			if downEnded && alone {
				return shutDown(context.WithoutCancel(ctx), relay, orderly)
			}
			if upEnded && !downEnded && !relay.Resumable() {
				inputEnded.Store(true)
				_ = relay.SetReadDeadline(time.Now().Add(lastAnswer))
			}
			if upEnded && ctx.Err() != nil {
				return hungUp(shutDown(context.WithoutCancel(ctx), relay, hangUp))
			}
		case <-told:
			if upEnded {
				return hungUp(shutDown(context.WithoutCancel(ctx), relay, hangUp))
			}
			told, late = nil, time.After(lastInput)
		case <-late:
			reset(relay)
			return errInterrupted
		}
	}
	if err := shutDown(context.WithoutCancel(ctx), relay, orderly); err != nil || !silent.Load() {
		return err
	}
	return errSilent
}

// reset has the target's connection reset, and waits until the server has heard of
// it: to a server the end of this process alone is a session to be taken up.
func reset(relay Relay) {
	_ = relay.Reset()
	_ = shutDown(context.Background(), relay, resetLimit)
}

// A hangUpError is how a pipe has ended that was told to end when its input had: whoever
// has told it, OpenSSH as a rule, has all it wants, and nobody reads of it.
type hangUpError struct{ error }

func (e hangUpError) Unwrap() error { return e.error }

func hungUp(err error) error {
	if err == nil {
		return nil
	}
	return hangUpError{err}
}

func shutDown(ctx context.Context, relay Relay, most time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("the server has not ended the connection in order within %v", most))
	defer cancel()
	return relay.Shutdown(ctx)
}

// copyUp passes the input on, and its end.
func copyUp(relay Relay, in io.Reader) error {
	for b := make([]byte, copySize); ; {
		n, err := in.Read(b)
		if n > 0 {
			if _, err := relay.Write(b[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			if !relay.Resumable() {
				return nil // a close is all that there is to end it with
			}
			return relay.CloseWrite()
		case err != nil:
			return fmt.Errorf("the input can't be read: %w", err)
		}
	}
}

// copyDown passes on what the target says, and its end; or, once the input has ended
// and the target can't be told so, its silence.
func copyDown(out io.WriteCloser, relay Relay, inputEnded, silent *atomic.Bool) error {
	to := &heard{out: out, relay: relay, inputEnded: inputEnded}
	_, err := io.CopyBuffer(to, relay, make([]byte, copySize))
	silent.Store(to.err == nil && errors.Is(err, os.ErrDeadlineExceeded))
	if err != nil && !silent.Load() {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("the output can't be closed: %w", err)
	}
	return nil
}

// A heard output postpones, with all that comes, the end of a target's silence.
type heard struct {
	out        io.Writer
	relay      Relay
	inputEnded *atomic.Bool
	err        error
}

func (h *heard) Write(b []byte) (int, error) {
	if h.inputEnded.Load() {
		_ = h.relay.SetReadDeadline(time.Now().Add(lastAnswer))
	}
	n, err := h.out.Write(b)
	if err != nil {
		h.err = fmt.Errorf("the output can't be written: %w", err)
	}
	return n, h.err
}
