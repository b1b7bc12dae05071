package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// offered is how much a side that is not read tries to send.
	offered = 256 << 20
	// mayBuffer is how much of it may be under way: the buffers of four
	// sockets, each of which Linux lets grow by itself to some megabytes.
	mayBuffer = 64 << 20
	// mayGrow is how much larger the server's memory may be meanwhile. A pump
	// holds 32 KiB.
	mayGrow = 8 << 20
	// quiet is how long nothing must move for a transfer to count as stuck.
	quiet = 500 * time.Millisecond
)

// fill writes blocks until the connection has taken nothing for a while, and
// returns how many bytes it took.
func fill(t *testing.T, conn net.Conn, block []byte) (n int64) {
	t.Helper()
	for n < offered {
		_ = conn.SetWriteDeadline(time.Now().Add(quiet))
		some, err := conn.Write(block)
		n += int64(some)
		if errors.Is(err, os.ErrDeadlineExceeded) && some == 0 {
			return n
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	return n
}

// A counter counts what passes through it, for another goroutine to see.
type counter struct {
	io.Writer
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// stuck waits until the count stands still for a while, and returns it.
func (c *counter) stuck(t *testing.T) int64 {
	t.Helper()
	at, since := c.n.Load(), time.Now()
	eventually(t, patience, "a transfer that is stuck", func() bool {
		if n := c.n.Load(); n != at {
			at, since = n, time.Now()
		}
		return time.Since(since) > quiet
	})
	return at
}

// resident returns the resident memory of the server in bytes.
func (s *server) resident(t *testing.T) int64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// warmUp moves some megabytes both ways, so that the memory that a busy server
// needs anyway is not taken for growth.
func warmUp(t *testing.T, s *server) {
	t.Helper()
	ws := dialRaw(t, relayURL(s, echoServer(t)), nil)
	const size = 16 << 20
	failed := make(chan error, 1)
	go func() {
		_, err := copyBy(64<<10, frames{ws}, newData(size).reader())
		failed <- err
	}()
	for n := 0; n < size; {
		_, payload, err := ws.read()
		if err != nil {
			t.Fatal(err)
		}
		n += len(payload)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	ws.send(t, frame(finBit|opClose, closePayload(1000, "")))
	ws.expectClose(t, 1000, "")
	ws.Close()
}

func TestClientThatDoesNotReadFillsTheMemory(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	warmUp(t, s)
	before := s.resident(t)

	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	_ = conn.SetDeadline(time.Time{})
	out := &counter{Writer: conn}
	said := newData(offered)
	failed := make(chan error, 1)
	go func() {
		_, err := copyBy(64<<10, out, said.reader())
		conn.Close()
		failed <- err
	}()
	taken := out.stuck(t)
	grown := s.resident(t) - before
	t.Logf("the target could send %d KiB, the server grew by %d KiB", taken>>10, grown>>10)
	if taken > mayBuffer {
		t.Errorf("the target could send %d bytes, though nobody reads", taken)
	}
	if grown > mayGrow {
		t.Errorf("the server's memory grew by %d bytes", grown)
	}

	_ = ws.SetDeadline(time.Now().Add(2 * patience))
	e := ws.expectClose(t, 1000, "")
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if e.bytes != offered || e.sum != said.sum() {
		t.Errorf("%d bytes of %d arrived, or others", e.bytes, int64(offered))
	}
}

func TestTargetThatDoesNotReadFillsTheMemory(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	warmUp(t, s)
	before := s.resident(t)

	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	_ = ws.SetDeadline(time.Time{})
	out := &counter{Writer: frames{ws}}
	said := newData(offered)
	failed := make(chan error, 1)
	go func() {
		_, err := copyBy(64<<10, out, said.reader())
		if err == nil {
			_, err = ws.Write(frame(finBit|opClose, closePayload(1000, "")))
		}
		failed <- err
	}()
	taken := out.stuck(t)
	grown := s.resident(t) - before
	t.Logf("the client could send %d KiB, the server grew by %d KiB", taken>>10, grown>>10)
	if taken > mayBuffer {
		t.Errorf("the client could send %d bytes, though nobody reads", taken)
	}
	if grown > mayGrow {
		t.Errorf("the server's memory grew by %d bytes", grown)
	}

	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	drain(t, conn, said)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	conn.Close()
	ws.expectClose(t, 1000, "")
}

// One direction that is stuck must not hold the other one up.
func TestStuckDirectionStopsTheOther(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	said := newData(16 << 20)

	t.Run("ClientDoesNotRead", func(t *testing.T) {
		far, conns := handServer(t)
		ws := dialRaw(t, relayURL(s, far), nil)
		conn := accept(t, conns)
		fill(t, conn, make([]byte, 64<<10))
		failed := make(chan error, 1)
		go func() {
			_, err := copyBy(64<<10, frames{ws}, said.reader())
			failed <- err
		}()
		got := newTally()
		_, err := io.CopyN(got, conn, said.size)
		if err != nil {
			t.Fatal(err)
		}
		got.expect(t, said)
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	})

	t.Run("TargetDoesNotRead", func(t *testing.T) {
		far, conns := handServer(t)
		ws := dialRaw(t, relayURL(s, far), nil)
		conn := accept(t, conns)
		fill(t, ws, frame(finBit|opBinary, make([]byte, 64<<10)))
		failed := make(chan error, 1)
		go func() {
			_, err := copyBy(64<<10, conn, said.reader())
			failed <- err
		}()
		got := newTally()
		for got.n < said.size {
			_, payload, err := ws.read()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = got.Write(payload)
		}
		got.expect(t, said)
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	})
}
