package relay

import (
	"bytes"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/splice"
)

// maxMessage is how long a message of the server's is at most (protocol, section 3).
const maxMessage = 64 << 10

// wantNoPipe waits until no pipe is borrowed, and the collector has closed them.
func wantNoPipe(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "no pipe is borrowed", func() bool {
		runtime.GC()
		return splice.Open() == 0
	})
}

// A target's bytes reach the client in order, by pipes where much comes and by buffers
// where little does, and however often that changes.
func TestBytesPassByPipesAndByBuffers(t *testing.T) {
	r := newRunningRig(t)
	const size = 48 << 20
	sent := testkit.Pattern(size)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	taken := make(chan int, 1) // how many bytes the client has
	go func() {
		for at, has := 0, 0; at < size; {
			n := min(1+random.IntN(1<<(1+random.IntN(23))), size-at)
			_, _ = r.target.Write(sent[at : at+n])
			at += n
			for random.IntN(4) > 0 && has < at { // then there is a pause
				has = <-taken
			}
			select {
			case has = <-taken:
			default:
			}
		}
		_ = r.target.CloseWrite()
	}()
	small, large, got := 0, 0, 0
	for got < size {
		first, payload, err := testkit.ReadFrame(r.peer)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		if first != frameBin || len(payload) > maxMessage || !bytes.Equal(payload, sent[got:min(got+len(payload), size)]) {
			t.Fatalf("%#x with %d bytes is wrong at %d", first, len(payload), got)
		}
		got += len(payload)
		if len(payload) > wsock.BufferSize {
			large++
		} else {
			small++
		}
		select {
		case <-taken:
		default:
		}
		taken <- got
	}
	r.finish(messages.ReasonTargetEnded)
	if first, _, err := testkit.ReadFrame(r.peer); first != frameClose {
		t.Errorf("after the last byte comes %#x, %v", first, err)
	}
	if _, down := r.pair.Moved(); down != size {
		t.Errorf("%d bytes were counted, of %d", down, size)
	}
	t.Logf("%d messages by buffers, %d by pipes", small, large)
	if small == 0 || large == 0 {
		t.Error("not both ways were gone")
	}
	_, _ = r.peer.Write(testkit.Frame(frameClose, nil))
	r.target.Close()
	r.wantClosed(messages.ReasonTargetEnded)
	wantNoPipe(t)
}

// stallInAPipe has the target send until the pair waits for its client with a pipe in
// its hands.
func (r *rig) stallInAPipe() {
	r.T.Helper()
	go func() {
		data := make([]byte, 1<<20)
		for {
			if _, err := r.target.Write(data); err != nil {
				return
			}
		}
	}()
	for range 50 {
		r.wantStalled()
		runtime.GC()
		runtime.GC()
		if splice.Open() > 0 {
			return
		}
		for range 8 { // it waits with a buffer
			if _, _, err := testkit.ReadFrame(r.peer); err != nil {
				r.T.Fatal(err)
			}
		}
	}
	r.T.Fatal("the pair never waits with a pipe")
}

// A message that is cut in the middle ends as others do, and gives its pipe back.
func TestEndInTheMiddleOfASplicedMessage(t *testing.T) {
	for name, end := range map[string]func(*rig) messages.Reason{
		"the client resets": func(r *rig) messages.Reason {
			_ = r.peer.SetLinger(0)
			r.peer.Close()
			r.finish(messages.ReasonClientGone)
			return messages.ReasonClientGone
		},
		"the session is cut": func(r *rig) messages.Reason {
			r.pair.Finish(messages.ReasonShutdown)
			r.pair.Cut()
			return messages.ReasonShutdown
		},
		"the client is given up": func(r *rig) messages.Reason {
			r.pair.Finish(messages.ReasonClientStalled)
			return messages.ReasonClientStalled
		},
		"the target resets": func(r *rig) messages.Reason {
			_ = r.target.SetLinger(0)
			r.target.Close()
			go func() { // reads to the end, of which the reset is a part
				for {
					first, _, err := testkit.ReadFrame(r.peer)
					if err != nil {
						return
					}
					if first == frameClose {
						_, _ = r.peer.Write(testkit.Frame(frameClose, nil))
					}
				}
			}()
			r.finish(messages.ReasonTargetReset)
			return messages.ReasonTargetReset
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunningRig(t)
			r.stallInAPipe()
			reason := end(r)
			r.target.Close()
			r.wantClosed(reason)
			wantNoPipe(t)
			if held := pooled.Held(); held != 0 {
				t.Errorf("%d buffers are held", held)
			}
		})
	}
}

// What overtakes data does so between two messages, and the client's silence while it
// reads nothing is no silence.
func TestPongComesBetweenSplicedMessages(t *testing.T) {
	r := newRunningRig(t)
	r.stallInAPipe()
	_, _ = r.peer.Write(testkit.Frame(framePing, []byte("hello")))
	const framePong = 0x8a
	for range 1000 {
		first, payload, err := testkit.ReadFrame(r.peer)
		if err != nil {
			t.Fatal(err)
		}
		if first == framePong {
			if string(payload) != "hello" {
				t.Errorf("the pong says %q", payload)
			}
			return
		}
		if first != frameBin || bytes.Count(payload, []byte{0}) != len(payload) {
			t.Fatalf("%#x comes with %d bytes", first, len(payload))
		}
	}
	t.Error("no pong comes")
}

// Where there is no pipe to be had bytes go by buffers.
func TestWithoutPipesBytesGoByBuffers(t *testing.T) {
	wantNoPipe(t)
	var pipes []*splice.Pipe
	for p := splice.Take(); p != nil; p = splice.Take() {
		pipes = append(pipes, p)
	}
	defer func() {
		for _, p := range pipes {
			p.Give()
		}
	}()
	r := newRunningRig(t)
	sent := testkit.Pattern(8 << 20)
	go func(target *net.TCPConn) { _, _ = target.Write(sent) }(r.target)
	_ = r.peer.SetReadDeadline(time.Now().Add(testkit.Patience))
	for got := 0; got < len(sent); {
		first, payload, err := testkit.ReadFrame(r.peer)
		if err != nil || first != frameBin || len(payload) > wsock.BufferSize || !bytes.Equal(payload, sent[got:got+len(payload)]) {
			t.Fatalf("%#x with %d bytes at %d: %v", first, len(payload), got, err)
		}
		got += len(payload)
	}
}
