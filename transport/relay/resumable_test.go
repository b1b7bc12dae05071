package relay

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/resume"
)

// A lastingRig is a pair that may outlive its WebSocket, its target there.
type lastingRig struct {
	*rig
	sent uint64 // position of the client
}

// newLastingRig connects a pair to an upstream, or if that is nil to a TCP target.
func newLastingRig(t *testing.T, to upstream) *lastingRig {
	t.Helper()
	r := &lastingRig{rig: newBareRig(t)}
	settings := *r.pair.settings
	settings.Resume = &resume.Settings{
		Host: settings.Host, Timeout: time.Hour, Buffer: 1 << 20, Shares: budget.NewShares(1 << 20),
	}
	r.pair = NewLastingPair(&settings, r.pair.target, nil, "ann", nil)
	r.pair.Own(r.PID)
	r.attach()
	if to == nil {
		r.dial()
	} else {
		r.pair.dialed = make(chan struct{})
		if err := r.pair.connected(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		close(r.pair.dialed)
	}
	r.pair.Announce("token")
	r.pair.Pump()
	r.wants(messages.KindSession)
	r.say(string(messages.AppendAck(nil, messages.UnitBytes, 0, 1<<20)))
	return r
}

func (r *lastingRig) say(text string) {
	r.T.Helper()
	if err := r.client.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		r.T.Fatal(err)
	}
}

func (r *lastingRig) sends(data string) {
	r.T.Helper()
	r.sent += uint64(len(data))
	if err := r.client.WriteMessage(websocket.BinaryMessage, binary.BigEndian.AppendUint64([]byte(data), r.sent)); err != nil {
		r.T.Fatal(err)
	}
}

// wants reads up to a message of a kind, past acknowledgements.
func (r *lastingRig) wants(kind messages.ResumeKind) {
	r.T.Helper()
	for {
		_, text, err := r.client.ReadMessage()
		if err != nil {
			r.T.Fatal(err)
		}
		switch m, err := messages.DecodeResume(text, messages.UnitBytes); {
		case err == nil && m.Kind == kind:
			return
		case err != nil || m.Kind != messages.KindAck:
			r.T.Fatalf("%q comes, %v", text, err)
		}
	}
}

// wantsBytes reads the first binary message, past acknowledgements.
func (r *lastingRig) wantsBytes(want string) {
	r.T.Helper()
	for {
		kind, data, err := r.client.ReadMessage()
		if err != nil {
			r.T.Fatal(err)
		}
		if kind == websocket.TextMessage {
			continue
		}
		if all := string(binary.BigEndian.AppendUint64([]byte(want), uint64(len(want)))); string(data) != all {
			r.T.Fatalf("the client gets %q, want %q", data, all)
		}
		return
	}
}

// wantsAll waits for the pair's end.
func (r *lastingRig) wantsAll(reason messages.Reason) {
	r.T.Helper()
	for {
		if m, closed := testkit.Receive(r.T, r.Got).(*messages.PairClosed); closed {
			if m.Reason != reason {
				r.T.Errorf("the pair is closed for %s, want %s", m.Reason, reason)
			}
			return
		}
	}
}

// Each direction ends by itself, and the pair when both have.
func TestDirectionsOfALastingPairEndByThemselves(t *testing.T) {
	r := newLastingRig(t, nil)
	r.sends("all of it")
	r.say(messages.EOFText)
	if got, err := io.ReadAll(r.target); err != nil || string(got) != "all of it" {
		t.Fatalf("the target gets %q, %v", got, err)
	}
	_, _ = r.target.Write([]byte("answer"))
	_ = r.target.CloseWrite()
	r.wantsBytes("answer")
	r.wants(messages.KindEOF)
	r.wantPumpEnd(messages.ReasonTargetEnded)
	r.pair.Finish(messages.ReasonTargetEnded)
	r.wantClose(messages.CloseNormal) // the client answers that by itself
	r.wantsAll(messages.ReasonTargetEnded)
}

// A service behind Cloudflare Access is told of the end by a close frame, and never sees
// where the client's positions stood.
func TestEndOfALastingClientBehindAccess(t *testing.T) {
	u, service := newAccessUpstream(t)
	_ = u.ws.NetConn().SetDeadline(time.Time{})
	r := newLastingRig(t, u)
	r.sends("one")
	service.wants("one")
	r.sends("two")
	service.wants("two")
	r.say(messages.EOFText)
	if got, closed := service.receive(1); !closed {
		t.Fatalf("the service is sent %q, want a close frame", got)
	}
	_ = service.send(frameBin, []byte("answer"))
	_ = service.send(frameClose, testkit.ClosePayload(1000, ""))
	r.wantsBytes("answer")
	r.wants(messages.KindEOF)
	r.wantPumpEnd(messages.ReasonTargetEnded)
	r.pair.Finish(messages.ReasonTargetEnded)
	service.Close()
	r.wantClose(messages.CloseNormal)
	r.wantsAll(messages.ReasonTargetEnded)
}

// A target sees a FIN only behind all that its client wanted to send.
func TestWhatTheTargetOfALastingPairSees(t *testing.T) {
	for name, c := range map[string]struct {
		eof    bool
		reason messages.Reason
		whole  bool
	}{
		"close 1000":                 {false, messages.ReasonClientClosed, true},
		"another close":              {false, messages.ReasonClientAborted, false},
		"another close behind eof":   {true, messages.ReasonClientAborted, true},
		"nobody came in time":        {false, messages.ReasonResumeTimeout, false},
		"nobody came, but eof had":   {true, messages.ReasonResumeTimeout, true},
		"a shutdown":                 {false, messages.ReasonShutdown, false},
		"a shutdown behind eof":      {true, messages.ReasonShutdown, true},
		"it gave way":                {false, messages.ReasonGaveWay, false},
		"an ack that can't be":       {false, messages.ReasonBadAck, false},
		"a message that is too long": {false, messages.ReasonMessageTooBig, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLastingRig(t, nil)
			r.sends("some of it")
			if c.eof {
				r.say(messages.EOFText)
			}
			testkit.Eventually(t, "it is passed on", func() bool {
				return r.pair.up.Load() == int64(r.sent) && (!c.eof || r.pair.lasting.EndPassed())
			})
			r.pair.Finish(c.reason)
			r.peer.Close()
			_, err := io.ReadAll(r.target)
			if reset := errors.Is(err, syscall.ECONNRESET); reset == c.whole || !reset && err != nil {
				t.Errorf("the target sees %v", err)
			}
			r.target.Close()
			r.wantsAll(c.reason)
		})
	}
}
