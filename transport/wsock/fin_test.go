package wsock

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A front proxy takes the end of the stream for the end of both directions. So it comes
// behind the client's close frame, and a while later where there is none.
func TestStreamEndsBehindTheClientsCloseFrame(t *testing.T) {
	answer := testkit.Frame(fin|opClose, testkit.ClosePayload(1000, ""))
	for name, c := range map[string]struct {
		reason  messages.Reason
		say     []byte // of the client, when it has the close frame
		least   time.Duration
		quickly bool
	}{
		"answered":           {messages.ReasonTargetEnded, answer, 0, true},
		"not answered":       {messages.ReasonTargetEnded, nil, finDelay, false},
		"still sending":      {messages.ReasonTargetEnded, testkit.Frame(frameBin, testkit.Pattern(1000)), finDelay, false},
		"a forced end":       {messages.ReasonShutdown, nil, finDelay, false},
		"no frames any more": {messages.ReasonTargetEnded, testkit.Pattern(100), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newSessionRig(t, time.Hour)
			r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
			closed := r.finish(c.reason)
			if _, _, err := testkit.ReadFrame(r.peer); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, _ = r.peer.Write(c.say)
			_, err := r.peer.Read(make([]byte, 1))
			took := time.Since(began)
			if err != io.EOF {
				t.Errorf("behind the close frame the client reads %v", err)
			}
			// Looks are a third of a second apart, and the first may have been due before.
			if took < c.least*9/10 || c.quickly && took > finDelay*9/10 || took > messages.Linger*9/10 {
				t.Errorf("the stream's end comes after %v", took)
			}
			r.peer.Close()
			testkit.Receive(t, closed)
		})
	}
}

// What the client has not taken yet stands between the proxy and the end of the stream.
func TestStreamDoesNotEndBeforeAllIsTaken(t *testing.T) {
	s, peer := newConnPair(t)
	_ = s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // as much as the kernels take
	for err := error(nil); err == nil; {
		_, err = s.conn.Write(make([]byte, 64<<10))
	}
	if s.endSendingTaken() {
		t.Error("it ends behind what was not taken")
	}
	_ = peer.SetReadDeadline(time.Now().Add(testkit.Patience))
	testkit.Eventually(t, "the stream ends when all is taken", func() bool {
		_ = peer.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := io.Copy(io.Discard, peer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the peer reads %v", err)
		}
		return s.endSendingTaken()
	})
	_ = peer.SetReadDeadline(time.Now().Add(testkit.Patience))
	if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
		t.Errorf("the peer reads %d bytes, %v", n, err)
	}
}

// Who waits for the peer waits no longer because of the FIN, which the peer's kernel
// acknowledges as it does a byte.
func TestAcknowledgedFINIsNoProgress(t *testing.T) {
	for name, bytes := range map[string]uint64{"the FIN": 1, "more than that": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var acked atomic.Uint64
				var tries int
				expired, began := make(chan time.Time, 1), time.Now()
				l := newLinger(acked.Load, func() { expired <- time.Now() })
				l.WhenQuiet(finDelay, func() bool {
					if took := time.Since(began); took < finDelay {
						t.Errorf("it is quiet after %v", took)
					}
					if tries++; tries == 2 {
						acked.Add(bytes)
					}
					return tries == 2
				})
				want := late
				if bytes > 1 {
					want += finDelay + 3*messages.Linger/lingerLooks
				}
				if took := (<-expired).Sub(began); took > want || bytes > 1 && took <= late {
					t.Errorf("it ends after %v", took)
				}
				if tries != 2 {
					t.Errorf("the end was tried %d times", tries)
				}
			})
		})
	}
}
