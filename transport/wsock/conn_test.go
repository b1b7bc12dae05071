package wsock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// newConnPair returns a Conn, and its peer's bare end. The kernel's buffer
// is small, so that it soon takes frames in parts; not the peer's, which would
// wait for the kernel's timers then.
func newConnPair(t testing.TB) (*Conn, *net.TCPConn) {
	t.Helper()
	near, far := testkit.TCPPair(t)
	_ = far.SetWriteBuffer(64 << 10)
	s, err := NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	return s, near
}

func dataFrame(p []byte) []byte {
	frame := make([]byte, ServerHeader+len(p))
	copy(frame[ServerHeader:], p)
	return frame[PutHeader(frame, OpBinary, len(p)):]
}

// Who writes data, who pings and who answers pings share one connection: a
// frame that begins within another makes the peer refuse everything after it.
func TestFramesOfManyWritersDoNotInterleave(t *testing.T) {
	const writers, frames = 4, 50
	s, peer := newConnPair(t)
	client := testkit.GorillaClient(t, peer)
	var wait, noise sync.WaitGroup
	stop := make(chan struct{})
	for i := range writers {
		wait.Go(func() {
			for seq := range frames {
				p := append(fmt.Appendf(nil, "%d %d ", i, seq), testkit.Pattern(seq*seq*7%20000)...)
				frame := dataFrame(p)
				parts := [][]byte{frame}
				if cut := len(frame) / 2; i%2 > 0 { // a frame may come in parts
					parts = [][]byte{frame[:cut], frame[cut:]}
				}
				if err := s.Write(parts...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	until := func(do func(i int)) {
		noise.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					do(i)
				}
			}
		})
	}
	until(func(int) { s.ping() })
	until(func(i int) { s.answer(testkit.Pattern(i % maxControl)) })
	until(func(int) { s.flush() })
	closed := make(chan struct{})
	defer func() { testkit.Receive(t, closed) }()
	go func() {
		defer close(closed)
		wait.Wait()
		close(stop)
		noise.Wait()
		if err := s.writeClose(messages.CloseNormal, "", time.Time{}); err != nil {
			t.Error(err)
		}
	}()

	pongs := 0
	client.SetPingHandler(func(string) error { return nil }) // there may be none: a ping is skipped while somebody writes
	client.SetPongHandler(func(text string) error {
		if text != string(testkit.Pattern(len(text))) {
			return fmt.Errorf("a pong is damaged: %q", text)
		}
		pongs++
		return nil
	})
	var next [writers]int
	for {
		_, p, err := client.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var writer, seq int
		if _, err := fmt.Sscanf(string(p[:min(len(p), 20)]), "%d %d ", &writer, &seq); err != nil || seq != next[writer] {
			t.Fatalf("writer %d's frame %d comes where %d should: %v", writer, seq, next[writer], err)
		}
		if !bytes.HasSuffix(p, testkit.Pattern(seq*seq*7%20000)) {
			t.Fatalf("frame %d is damaged", seq)
		}
		next[writer]++
	}
	for i, n := range next {
		if n != frames {
			t.Errorf("writer %d: %d frames of %d", i, n, frames)
		}
	}
	if pongs == 0 {
		t.Error("no pong came")
	}
}

// A client that sends pings and reads nothing must not stop its reader, and is
// answered when it does read.
func TestAnswerNeverWaitsForThePeer(t *testing.T) {
	s, peer := newConnPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, stuck := 0, 0; stuck < 1000; i++ { // until the kernel takes no more, and on
			s.answer(fmt.Appendf(nil, "%d %s", i, testkit.Pattern(100)))
			s.ping()
			if s.waits.Load() {
				stuck++
			}
		}
		s.answer([]byte("the last"))
	}()
	testkit.Receive(t, done)

	client := testkit.GorillaClient(t, peer)
	answered := make(chan struct{})
	client.SetPingHandler(func(string) error { return nil })
	client.SetPongHandler(func(text string) error {
		if text == "the last" {
			close(answered)
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		_, _, err := client.ReadMessage()
		ended <- err
	}()
	testkit.Eventually(t, "the last ping is answered", func() bool {
		s.flush() // as the keepalive does
		select {
		case <-answered:
			return true
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		return false
	})
	if err := s.writeClose(messages.CloseNormal, "", time.Time{}); err != nil {
		t.Error(err)
	}
	testkit.Receive(t, ended)
}

// A pong that had to wait for a data frame goes out after it, by nobody's help.
func TestPongFollowsTheWriteThatHeldItUp(t *testing.T) {
	s, peer := newConnPair(t)
	written := make(chan error, 1)
	go func() { written <- s.Write(bytes.Repeat(dataFrame(testkit.Pattern(16<<10)), 512)) }() // 8 MiB, more than the kernel takes
	testkit.Eventually(t, "the write waits for the peer", s.writing.Load)
	asked := time.Now()
	s.answer([]byte("held up"))
	s.ping() // is skipped
	if took := time.Since(asked); took > testkit.Patience/2 {
		t.Errorf("the answer took %v", took)
	}
	client := testkit.GorillaClient(t, peer)
	got := 0
	client.SetPingHandler(func(string) error { t.Error("a ping came"); return nil })
	client.SetPongHandler(func(text string) error {
		if text != "held up" || got != 512 {
			t.Errorf("pong %q after %d frames", text, got)
		}
		got = -1
		return nil
	})
	for range 512 {
		if _, _, err := client.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		got++
	}
	if err := testkit.Receive(t, written); err != nil {
		t.Fatal(err)
	}
	if err := s.writeClose(messages.CloseNormal, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Fatal(err)
	}
	if got != -1 {
		t.Error("no pong came")
	}
}

func TestNothingFollowsTheCloseFrame(t *testing.T) {
	s, peer := newConnPair(t)
	if err := s.writeClose(messages.CloseGoingAway, "bye", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(dataFrame([]byte("x"))); !errors.Is(err, errCloseSent) {
		t.Errorf("a write after the close frame: %v", err)
	}
	if err := s.writeClose(messages.CloseNormal, "", time.Time{}); !errors.Is(err, errCloseSent) {
		t.Errorf("a second close frame: %v", err)
	}
	if got := s.Failure(errCloseSent); got != messages.ReasonInternal {
		t.Errorf("the reason is %q", got)
	}
	s.answer([]byte("x"))
	s.ping()
	s.flush()
	s.endSending()
	got, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	if want := closeFrame(1001, "bye"); !bytes.Equal(got, want) {
		t.Errorf("the peer got %x, want %x", got, want)
	}
}

// The kernel learns of a reset while nobody writes: the ping finds it.
func TestPingFindsABrokenConnection(t *testing.T) {
	s, peer := newConnPair(t)
	s.ping()
	if s.broken.Load() {
		t.Fatal("a healthy connection is called broken")
	}
	_ = peer.SetLinger(0)
	peer.Close()
	testkit.Eventually(t, "the connection is known to be broken", func() bool {
		s.ping()
		return s.broken.Load()
	})
}

func TestWhoeverGaveTheClientUpNamesTheReason(t *testing.T) {
	s, _ := newConnPair(t)
	var told []messages.Reason
	s.gaveUp = func(r messages.Reason) { told = append(told, r) }
	if got := s.Failure(io.EOF); got != messages.ReasonClientGone {
		t.Errorf("without a verdict it is %q", got)
	}
	s.giveUp(messages.ReasonClientSilent)
	s.giveUp(messages.ReasonClientStalled)
	if got := s.Failure(os.ErrDeadlineExceeded); got != messages.ReasonClientSilent {
		t.Errorf("the reason is %q", got)
	}
	if len(told) != 1 || told[0] != messages.ReasonClientSilent {
		t.Errorf("told: %q", told)
	}
	if _, err := s.conn.Read(make([]byte, 1)); !testkit.IsTimeout(err) {
		t.Errorf("a read then gets %v", err)
	}
	if err := s.Write(dataFrame([]byte("x"))); !testkit.IsTimeout(err) {
		t.Errorf("a write then gets %v", err)
	}
}

// A WebSocket that nobody wants is told so, and its client may read that even
// though it is still sending.
func TestRefusedWebSocketReadsItsClose(t *testing.T) {
	s, peer := newConnPair(t)
	client := testkit.GorillaClient(t, peer)
	refused := make(chan struct{})
	go func() { NewHost(nil, nil, nil).Refuse(s, messages.ReasonInternal); close(refused) }()
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for client.WriteMessage(websocket.BinaryMessage, testkit.Pattern(10_000)) == nil {
		}
	}()
	client.SetCloseHandler(func(int, string) error { return nil }) // nothing but an end of the connection ends the sending
	if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, messages.CloseInternal) {
		t.Errorf("the client reads %v", err)
	}
	peer.Close()
	testkit.Receive(t, sending)
	testkit.Receive(t, refused)
}

// The kernel may take a part of a control frame. The rest of it goes out before
// anything else, whoever writes next.
func TestRestOfAControlFrameGoesOutFirst(t *testing.T) {
	ping := controlFrame(opPing, testkit.Pattern(50))
	data := dataFrame([]byte("data"))
	pong := controlFrame(opPong, []byte("pong"))
	for name, c := range map[string]struct {
		next func(*Conn) error
		want []byte
	}{
		"a data frame":  {func(s *Conn) error { return s.Write(data) }, data},
		"a close frame": {func(s *Conn) error { return s.writeClose(1000, "", time.Time{}) }, closeFrame(1000, "")},
		"a pong":        {func(s *Conn) error { s.answer([]byte("pong")); return nil }, pong},
		"a ping":        {func(s *Conn) error { s.ping(); s.answer(nil); return nil }, controlFrame(opPong, nil)}, // is skipped
	} {
		t.Run(name, func(t *testing.T) {
			s, peer := newConnPair(t)
			if _, err := s.conn.Write(ping[:20]); err != nil {
				t.Fatal(err)
			}
			s.rest = bytes.Clone(ping[20:])
			if err := c.next(s); err != nil {
				t.Fatal(err)
			}
			s.conn.Close()
			got, err := io.ReadAll(peer)
			if want := append(bytes.Clone(ping), c.want...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the peer reads %x, %v, want %x", got, err, want)
			}
		})
	}
}

// Who has waited in vain to write the rest of a frame has written a part of it, which does
// not go out again.
func TestRestInPartsGoesOutOnce(t *testing.T) {
	s, peer := newConnPair(t)
	long := dataFrame(testkit.Pattern(8 << 20)) // more than any kernel takes
	s.rest = long
	_ = s.conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if err := s.Write(dataFrame(nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a peer that reads nothing: %v", err)
	}
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(peer)
		got <- all
	}()
	if err := s.writeClose(1000, "", time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	s.conn.Close()
	if all, want := testkit.Receive(t, got), append(long, closeFrame(1000, "")...); !bytes.Equal(all, want) {
		t.Errorf("the peer reads %d bytes, not those %d", len(all), len(want))
	}
}

// With the kernel's buffer full, a frame begun must be kept to its last byte,
// and one not begun must be dropped whole.
func TestFullKernelTearsNoFrame(t *testing.T) {
	s, peer := newConnPair(t)
	frames := 0
	for full := false; !full; {
		full = !s.offer(controlFrame(opPing, testkit.Pattern(125))) || len(s.rest) > 0
		if !full {
			frames++
		}
	}
	if len(s.rest) > 0 {
		frames++ // begun
	} else {
		s.ping() // not begun: dropped
	}
	client := testkit.GorillaClient(t, peer)
	pings := 0
	client.SetPingHandler(func(text string) error {
		if text != string(testkit.Pattern(125)) {
			return errors.New("a damaged ping")
		}
		pings++
		return nil
	})
	go func() { _ = s.writeClose(1000, "", time.Time{}) }()
	if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("the client's end is %v", err)
	}
	if pings != frames {
		t.Errorf("%d pings of %d", pings, frames)
	}
}
