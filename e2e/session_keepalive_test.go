package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// pingEvery returns the setting for an interval between pings.
func pingEvery(interval time.Duration) string { return fmt.Sprintf("PING_INTERVAL=%v", interval) }

func TestAnsweringClientGivenUp(t *testing.T) {
	t.Parallel()
	// Two and a half of these must outlast the time for which a busy machine
	// doesn't run the client: of a second they were not enough.
	const interval, enough = 2 * time.Second, 10
	s := start(t, allowLoopback(), pingEvery(interval))
	ws := dial(t, s, echoServer(t))
	var pings atomic.Int32
	answer := ws.PingHandler()
	ws.SetPingHandler(func(text string) error {
		pings.Add(1)
		return answer(text)
	})
	echoed := make(chan error, 1)
	go func() {
		_, _, err := ws.ReadMessage() // answers the pings meanwhile
		echoed <- err
	}()
	began := time.Now()
	eventually(t, patience, "the pings", func() bool { return pings.Load() >= enough })
	if took := time.Since(began); took < (enough-1)*interval*9/10 {
		t.Errorf("%d pings came within %v, the interval is %v", enough, took, interval)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte("still there")); err != nil {
		t.Fatal(err)
	}
	if err := <-echoed; err != nil {
		t.Fatalf("after %d intervals: %v", enough, err)
	}
}

// Whatever a client sends is a sign of life; it need not be a pong.
func TestTalkingClientGivenUp(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second // as above
	s := start(t, allowLoopback(), pingEvery(interval))
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	beat := time.NewTicker(interval / 4)
	defer beat.Stop()
	for range 16 {
		ws.send(t, frame(finBit|opBinary, []byte("x")))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		<-beat.C
	}
}

func TestSilentClientNotGivenUpInTime(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	s := start(t, allowLoopback(), pingEvery(interval))
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	began := time.Now()
	conn := accept(t, conns)
	pings := make(chan int, 1)
	go func() {
		e, _ := ws.toClose() // there is no close to wait for: the client is gone
		pings <- e.pings
	}()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("the target read %d bytes, error %v; want its end", n, err)
	}
	if took := time.Since(began); took < 2*interval || took > 8*interval {
		t.Errorf("given up after %v, want 2.5 intervals of %v", took, interval)
	}
	conn.Close()
	if n := <-pings; n < 2 || n > 3 {
		t.Errorf("%d pings came in 2.5 intervals", n)
	}
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_silent" {
		t.Errorf("reason %q", reason)
	}
}

// What a target sends is no sign of life of the client's, though the client's
// kernel takes it.
func TestSilentClientKeptByItsTarget(t *testing.T) {
	t.Parallel()
	const interval = 400 * time.Millisecond
	s := start(t, allowLoopback(), pingEvery(interval))
	far, conns := handServer(t)
	dialRaw(t, relayURL(s, far), nil)
	began := time.Now()
	conn := accept(t, conns)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	beat := time.NewTicker(interval / 10)
	defer beat.Stop()
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			if err != io.EOF {
				t.Fatalf("the target read %v, want its end", err)
			}
			waiting = false
		case <-beat.C:
			_, _ = conn.Write([]byte("a line now and then\n")) // fails once the proxy has ended
		}
	}
	if took := time.Since(began); took < 2*interval || took > 10*interval {
		t.Errorf("given up after %v, want 2.5 intervals of %v", took, interval)
	}
	conn.Close()
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_silent" {
		t.Errorf("reason %q", reason)
	}
}

// While its target doesn't read, a client may be stuck in a write and can't
// even answer a ping.
func TestClientGivenUpForTheTargetsPressure(t *testing.T) {
	t.Parallel()
	const interval = 400 * time.Millisecond
	s := start(t, allowLoopback(), pingEvery(interval))
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	out := &counter{Writer: frames{ws}}
	said := newData(32 << 20)
	failed := make(chan error, 1)
	go func() {
		_, err := copyBy(64<<10, out, said.reader())
		failed <- err
	}()
	out.stuck(t)
	_ = ws.SetReadDeadline(time.Now().Add(6 * interval))
	if e, err := ws.toClose(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the client saw %+v, error %v; want pings at most", e, err)
	}

	got := newTally()
	if _, err := io.CopyN(got, conn, said.size); err != nil {
		t.Fatalf("after %d bytes: %v", got.n, err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}

	// From now on the proxy waits for the client, and silence counts again.
	ws.send(t, frame(finBit|opBinary, []byte("x")))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got.expect(t, said)
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("the target read %d bytes, error %v; want its end", n, err)
	}
	if took := time.Since(began); took < 2*interval {
		t.Errorf("given up after %v of silence, want 2.5 intervals of %v", took, interval)
	}
	conn.Close()
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_silent" {
		t.Errorf("reason %q", reason)
	}
}

// A client that talks but doesn't read what its target sends is stalled.
func TestStalledClientNotGivenUp(t *testing.T) {
	t.Parallel()
	const interval = 400 * time.Millisecond
	s := start(t, allowLoopback(), pingEvery(interval))
	ws := dialRaw(t, relayURL(s, floodServer(t)), nil)
	began := time.Now()
	talk := time.NewTicker(interval / 8)
	defer talk.Stop()
	for {
		if _, err := ws.Write(frame(finBit|opPong, nil)); err != nil {
			break
		}
		<-talk.C
	}
	// Most of it is the kernel's time to fill its buffers.
	if took := time.Since(began); took < 2*interval || took > 30*interval {
		t.Errorf("given up after %v, want 2.5 intervals of %v from when the buffers are full", took, interval)
	}
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_stalled" {
		t.Errorf("reason %q", reason)
	}
}

// A client that reads is alive, be it slow or busy. It answers the pings that it
// reads, and sends nothing else.
func TestReadingClientGivenUp(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	for _, tt := range []struct {
		name        string
		buffer      int   // of the client's kernel
		perInterval int64 // bytes that the client reads
		size        int64
	}{
		{"Slow", 64 << 10, 768 << 10, 6 << 20},
		{"SlowOfATargetThatIsDone", 64 << 10, 384 << 10, 5 << 19}, // all in the kernel's buffers soon
		{"Busy", 1 << 20, 8 << 20, 40 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, allowLoopback(), pingEvery(interval))
			far, conns := handServer(t)
			ws := dialRaw(t, relayURL(s, far), nil)
			_ = ws.SetReadBuffer(tt.buffer)
			conn := accept(t, conns)
			said := newData(tt.size)
			failed := make(chan error, 1)
			go func() {
				_, err := copyBy(64<<10, conn, said.reader())
				failed <- err
			}()

			const slices = 8
			slice := time.NewTicker(interval / slices)
			defer slice.Stop()
			got := newTally()
			pings := 0
			for allowed := int64(0); got.n < tt.size; {
				first, payload, err := ws.read()
				if err != nil {
					t.Fatalf("after %d bytes of %d and %d pings: %v", got.n, tt.size, pings, err)
				}
				if first == finBit|opPing {
					pings++
					ws.send(t, frame(finBit|opPong, payload))
				}
				if first == finBit|opBinary {
					_, _ = got.Write(payload)
				}
				for got.n > allowed {
					<-slice.C
					allowed += tt.perInterval / slices
				}
			}
			if err := <-failed; err != nil {
				t.Error(err)
			}
			ws.send(t, frame(finBit|opClose, closePayload(1000, "")))
			conn.Close()
			ws.expectClose(t, 1000, "")
			got.expect(t, said)
			t.Logf("%d pings", pings)
		})
	}
}
