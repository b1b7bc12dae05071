package relay

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A slow reader takes what was sent to it in so many steps, over more than the
// time that one which takes nothing has.
const (
	tail      = 1 << 20 // bytes that the kernels hold when the session ends
	tailSteps = 24
	tailStep  = messages.Linger * 3 / 2 / tailSteps
)

// readSlowly reads n bytes and calls say with each step.
func readSlowly(conn net.Conn, n int, say func()) ([]byte, error) {
	got := make([]byte, n)
	tick := time.NewTicker(tailStep)
	defer tick.Stop()
	for step := range tailSteps {
		<-tick.C
		say()
		if _, err := io.ReadFull(conn, got[n*step/tailSteps:n*(step+1)/tailSteps]); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// A slow client that sends a word now and then gets every byte, and then the
// close frame (protocol, section 2).
func TestSlowClientGetsTheTail(t *testing.T) {
	t.Parallel() // longer than the linger
	r := newRunningRig(t)
	sent := testkit.Pattern(tail)
	_, _ = r.target.Write(sent)
	_ = r.target.CloseWrite()
	r.finish(messages.ReasonTargetEnded)
	started := time.Now()
	head, err := readSlowly(r.peer, tail/2, func() {
		_, _ = r.peer.Write(testkit.Frame(framePing, []byte("still there")))
		_, err := r.peer.Write(testkit.Frame(frameBin, testkit.Pattern(1000)))
		if err != nil {
			t.Errorf("the client can't send on: %v", err)
		}
	})
	if err != nil {
		t.Fatalf("the client's connection ends after %v: %v", time.Since(started), err)
	}
	frames := io.MultiReader(bytes.NewReader(head), r.peer)
	var got []byte
	for {
		first, payload, err := testkit.ReadFrame(frames)
		if err != nil {
			t.Fatalf("after %d bytes of %d: %v", len(got), len(sent), err)
		}
		if first == frameClose {
			if !bytes.Equal(payload, testkit.ClosePayload(messages.CloseNormal, "")) {
				t.Errorf("the close frame is %q", payload)
			}
			break
		}
		if first == frameBin {
			got = append(got, payload...)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("the client got %d bytes of %d", len(got), len(sent))
	}
	_, _ = r.peer.Write(testkit.Frame(frameClose, nil))
	if _, err := r.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the close frame the client reads %v", err)
	}
	r.wantTargetGets(nil)
	r.target.Close()
	r.wantClosed(messages.ReasonTargetEnded)
}

// So does a slow target that goes on talking, though the client has left.
func TestSlowTargetGetsTheTail(t *testing.T) {
	t.Parallel() // longer than the linger
	r := newRunningRig(t)
	sent := testkit.Pattern(tail)
	r.clientSends(sent)
	_ = r.client.WriteMessage(websocket.CloseMessage, testkit.ClosePayload(1000, ""))
	r.finish(messages.ReasonClientClosed)
	r.wantClose(messages.CloseNormal)
	got, err := readSlowly(r.target, tail/2, func() {
		if _, err := r.target.Write(testkit.Pattern(1000)); err != nil {
			t.Errorf("the target can't send on: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.wantTargetGets(sent[len(got):])
	if !bytes.Equal(got, sent[:len(got)]) {
		t.Error("the target's bytes are damaged")
	}
	r.target.Close()
	r.wantClosed(messages.ReasonClientClosed)
}

// A shutdown waits for nobody longer than 5 s, also not for a client and a
// target that take something now and then.
func TestShutdownOfSlowPeers(t *testing.T) {
	t.Parallel() // waits for the linger
	r := newRunningRig(t)
	for _, conn := range []*net.TCPConn{r.peer, r.target} {
		go func() {
			frame := testkit.Frame(frameBin, make([]byte, 50_000))
			for {
				if _, err := conn.Write(frame); err != nil {
					return
				}
			}
		}()
		go func() {
			for {
				if _, err := readSlowly(conn, tail/2, func() {}); err != nil {
					return
				}
			}
		}()
	}
	testkit.Eventually(t, "bytes pass both ways", func() bool {
		up, down := r.pair.Moved()
		return up > 0 && down > 0
	})
	started := time.Now()
	r.pair.Finish(messages.ReasonShutdown)
	r.wantClosed(messages.ReasonShutdown)
	if took := time.Since(started); took > messages.Linger*3/2 {
		t.Errorf("it took %v, the protocol allows %v", took, messages.Linger)
	}
}

// A client that ends its TCP stream without a close frame is sent what is left,
// a close frame and FIN, never a reset.
func TestEndWithoutACloseFrameIsAnsweredInOrder(t *testing.T) {
	r := newRunningRig(t)
	sent := testkit.Pattern(200_000)
	_, _ = r.target.Write(sent)
	testkit.Eventually(t, "all is on its way to the client", func() bool { return r.pair.down.Load() == int64(len(sent)) })
	r.clientSends([]byte("last words"))
	_ = r.peer.CloseWrite()
	r.finish(messages.ReasonClientGone)
	if got := r.wantClose(messages.CloseNormal); !bytes.Equal(got, sent) {
		t.Errorf("the client got %d bytes of %d", len(got), len(sent))
	}
	if _, err := r.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the close frame the client reads %v", err)
	}
	r.wantTargetGets([]byte("last words"))
	r.target.Close()
	r.wantClosed(messages.ReasonClientGone)
}

// A message may have any length: it is passed on as it comes, not when it is
// whole, and also if it never will be.
func TestMessagesOfAnyLengthPass(t *testing.T) {
	r := newRunningRig(t)
	whole := testkit.Pattern(3 << 20)
	go r.clientSends(whole)
	got := make([]byte, len(whole))
	if _, err := io.ReadFull(r.target, got); err != nil || !bytes.Equal(got, whole) {
		t.Fatalf("the message of 3 MiB is damaged, or %v", err)
	}
	begun := testkit.Pattern(100_000)
	masked := testkit.Frame(frameBin, begun)
	masked = masked[len(masked)-len(begun)-4:]
	_, _ = r.peer.Write(append([]byte{frameBin, 0xff, 0, 0, 1, 0, 0, 0, 0, 0}, masked...)) // 2^40 bytes are announced
	got = make([]byte, len(begun))
	if _, err := io.ReadFull(r.target, got); err != nil || !bytes.Equal(got, begun) {
		t.Fatalf("what came of the endless message is damaged, or %v", err)
	}
	_ = r.peer.CloseWrite()
	r.finish(messages.ReasonClientGone)
	r.wantClose(messages.CloseNormal)
	r.wantTargetGets(nil)
	r.target.Close()
	r.wantClosed(messages.ReasonClientGone)
}

// A target sees the client's end at once, whoever the client keeps waiting.
func TestSlowClientDoesNotHoldTheTargetsEndUp(t *testing.T) {
	t.Parallel() // waits for the linger
	r := newRunningRig(t)
	go func() {
		for {
			if _, err := r.target.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	r.wantStalled()
	started := time.Now()
	_ = r.client.WriteMessage(websocket.CloseMessage, nil) // and reads nothing
	r.finish(messages.ReasonClientClosed)
	r.wantTargetGets(nil)
	if took := time.Since(started); took > messages.Linger/2 {
		t.Errorf("the target sees the end after %v", took)
	}
	r.target.Close()
	r.wantClosed(messages.ReasonClientClosed)
}

// What the keepalive finds while a session closes ends the wait for the client:
// it finds sooner than the linger that a write makes no progress.
func TestKeepaliveGivesUpAClientWhileItsSessionCloses(t *testing.T) {
	t.Parallel() // waits for the keepalive
	r := newRigWith(t, messages.Linger/10, slog.New(slog.DiscardHandler))
	r.attach()
	r.dial()
	r.pair.Pump()
	go func() {
		for {
			if _, err := r.target.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	r.wantStalled()
	started := time.Now()
	r.pair.Finish(messages.ReasonInternal)
	_, _ = io.Copy(io.Discard, r.target)
	r.target.Close()
	r.wantClosed(messages.ReasonInternal)
	if took := time.Since(started); took > messages.Linger*3/4 {
		t.Errorf("a client that is given up is waited for, %v", took)
	}
}
