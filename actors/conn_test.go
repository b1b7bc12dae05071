package actors

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"wsproxy/messages"
)

// toConn sends a connection's actor messages in the part of its stream.
func (v *rigTunnel) toConn(s *fakeStream, ms ...any) {
	v.r.t.Helper()
	for _, m := range ms {
		v.r.send(s.owner, m)
	}
}

func data(id string, n int) *messages.Data {
	return &messages.Data{ConnID: id, Data: make([]byte, n)}
}

func closeOf(id string) *messages.FromClient {
	return fromClient(&messages.Close{ConnID: id}, 5)
}

func TestRawConnectionTellsItsLifeInTwoLines(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		who := map[string]any{
			"tunnel": v.subdomain(), "user": "ann", "source": rigSource, "conn": "c1", "peer": "203.0.113.9:50123", "port": uint64(rigFirstPort),
		}
		r.wantLine(slog.LevelInfo, "raw connection started", who)
		time.Sleep(250 * time.Millisecond)
		v.tell(&messages.Data{ConnID: "c1", Data: []byte("a")}, &messages.Data{ConnID: "c1", Data: []byte("b")}, closeOf("c1"))
		v.wantStream(s, "write a, write b, endread, endwrite")
		who["reason"], who["bytes_in"], who["bytes_out"], who["duration_ms"] = "client_closed", 3, 4, 250
		r.wantLine(slog.LevelInfo, "raw connection ended", who)
		if r.alive(s.owner) || r.meter.of("raw started") != 1 || r.meter.of("raw ended client_closed") != 1 {
			t.Errorf("the conn lives: %v; the meter counts %v", r.alive(s.owner), r.meter.counts)
		}
		r.wantTaken(1, 0, 0)
		v.want()
	})
}

// The log says why a connection ended, whoever ended it.
func TestRawConnectionIsLoggedWithItsReason(t *testing.T) {
	for _, test := range []struct {
		name string
		how  func(v *rigTunnel, s *fakeStream)
		want messages.CloseReason
	}{
		{"client", func(v *rigTunnel, s *fakeStream) { v.tell(closeOf("c1")) }, "client_closed"},
		{"peer, then client", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
			v.tell(closeOf("c1"))
		}, messages.CloseEOF},
		{"peer reset", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
		}, messages.CloseReset},
		{"peer reset after its end", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF}, &messages.OutsideEnded{Reason: messages.CloseReset})
		}, messages.CloseReset},
		{"write failed", func(v *rigTunnel, s *fakeStream) {
			s.Abort(messages.CloseReset) // by the stream itself
			v.r.settle()
		}, messages.CloseReset},
		{"write failed after the peer's end", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
			s.Abort(messages.CloseReset)
			v.r.settle()
		}, messages.CloseReset},
		{"overrun", func(v *rigTunnel, s *fakeStream) { v.tell(data("c1", messages.Window+1)) }, messages.CloseLimit},
		{"tunnel ended", func(v *rigTunnel, s *fakeStream) { v.end() }, "tunnel_ended"},
		{"shutdown", func(v *rigTunnel, s *fakeStream) { v.say(&messages.Shutdown{}) }, messages.CloseShutdown},
		{"tunnel ended after the peer", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
			v.end()
		}, "tunnel_ended"},
		{"shutdown while it outlives its tunnel", func(v *rigTunnel, s *fakeStream) {
			s.slow = true
			v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
			v.say(&messages.Shutdown{})
		}, "shutdown"},
		{"client reset", func(v *rigTunnel, s *fakeStream) { v.tell(closeFor("c1", "reset")) }, "client_reset"},
		{"client refused", func(v *rigTunnel, s *fakeStream) { v.tell(closeFor("c1", "refused")) }, "refused"},
		{"client ended, then peer", func(v *rigTunnel, s *fakeStream) {
			v.tell(closeFor("c1", "eof"))
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
		}, "eof"},
		{"client ended, then closed", func(v *rigTunnel, s *fakeStream) {
			v.tell(closeFor("c1", "eof"), closeOf("c1"))
		}, "client_closed"},
		{"restart", func(v *rigTunnel, s *fakeStream) {
			v.r.fault = failOnce[*messages.Garbage]()
			v.tell(&messages.Garbage{})
		}, messages.CloseRestart},
		{"handler stopped", func(v *rigTunnel, s *fakeStream) { v.r.root.Stop(v.owner); v.r.settle() }, "tunnel_ended"},
		{"stopped", func(v *rigTunnel, s *fakeStream) { v.r.root.Stop(s.owner); v.r.settle() }, messages.CloseReset},
		{"failed", func(v *rigTunnel, s *fakeStream) {
			s.panicIn = "write"
			v.tell(data("c1", 1))
		}, messages.CloseReset},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				s := v.accepts("c1")
				test.how(v, s)
				lines := r.log.of("raw connection ended")
				if len(lines) != 1 || lines[0].fields["reason"] != string(test.want) {
					t.Errorf("logged is %v, want the reason %q", lines, test.want)
				}
				if n := r.meter.of(fmt.Sprintf("raw ended %s", test.want)); n != 1 || r.meter.of("raw started") != 1 {
					t.Errorf("the meter counts %v", r.meter.counts)
				}
				if r.alive(s.owner) || r.taken(messages.ClaimRaw) > 0 {
					t.Error("the connection's actor or slot is left")
				}
			})
		})
	}
}

// A raw connection beyond the limit of all tunnels is closed before the client
// hears of it.
func TestRawConnectionWithoutASlotIsRejected(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{Raw: 2}}, func(r *tunnelRig) {
		one, two := r.ready(), r.ready()
		first := one.accepts("c1")
		two.accepts("c1")
		s := r.stream("c2")
		one.tell(&messages.Accepted{Stream: s})
		one.wantStream(s, "own, reject")
		if r.alive(s.owner) || r.meter.of("raw started") != 2 || len(r.log.of("raw connection ended")) > 0 {
			t.Error("the rejected connection is alive, or counted as one that was")
		}
		one.tell(&messages.Data{ConnID: "c2", Data: []byte("x")})
		one.want(`control {"type":"tcp_close","connId":"c2","reason":"unknown"}`)
		one.tell(closeOf("c1"))
		one.wantStream(first, "endread, endwrite")
		one.accepts("c3")
		r.wantTaken(2, 0, 2)
	})
}

// What comes while the limits have not answered changes nothing: the client
// knows of no connection.
func TestRawConnectionIsNotOpenedBeforeItsSlotIsThere(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		s := r.stream("c1")
		v.tell(&messages.Accepted{Stream: s}, data("c1", 1), closeOf("c1"))
		v.wantStream(s, "own")
		claims := []messages.Claim{
			{Kind: messages.ClaimRawTunnel, Tunnel: v.subdomain()}, {Kind: messages.ClaimRawUser, User: "ann"}, {Kind: messages.ClaimRaw},
		}
		m := r.asked.all()[0].(*messages.Acquire)
		if m.Holder.Id != s.owner.Id || fmt.Sprint(m.Claims) != fmt.Sprint(claims) {
			t.Errorf("asked was %+v", m)
		}
		v.toConn(s, &messages.Granted{Claims: claims}, &messages.Granted{Claims: claims})
		v.wantStream(s, "open")
	})
}

// Until its slot is there a connection can be aborted, and then it is not
// opened: it would never end.
func TestRawConnectionAbortedBeforeItsSlotIsThereIsNotOpened(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		s := r.stream("c1")
		v.tell(&messages.Accepted{Stream: s})
		owner := s.owner
		v.tell(&messages.CloseHandler{Reason: messages.ReasonShutdown})
		v.wantStream(s, "own, abort shutdown")
		v.toConn(s, &messages.Granted{})
		v.say(&messages.MuxEnded{Reason: messages.ReasonShutdown})
		v.say(&messages.MuxClosed{})
		if r.alive(owner) || r.alive(v.handler) {
			t.Error("an actor is left")
		}
	})
}

func TestDataStopsOnceTheConnectionIsClosing(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		s.slow = true
		v.tell(&messages.Data{ConnID: "c1", Data: []byte("a")}, closeOf("c1"), &messages.Data{ConnID: "c1", Data: []byte("b")}, closeOf("c1"))
		v.wantStream(s, "write a, endread, endwrite")
		v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF}) // crosses: nothing to wait for
		v.toConn(s, &messages.StreamClosed{})
		if r.alive(s.owner) {
			t.Error("the conn lives on")
		}
		v.want()
	})
}

// Bytes are booked before the conn has seen them. What it does not write it
// gives back: booked for ever, it would stop the tunnel's reading.
func TestDataThatIsNotWrittenIsGivenBack(t *testing.T) {
	for _, test := range []struct {
		name string
		how  func(v *rigTunnel, s *fakeStream)
		want int64 // of what was written before
	}{
		{"closed by the client", func(v *rigTunnel, s *fakeStream) { v.tell(data("c1", 300), closeOf("c1")) }, 300},
		{"closed for being idle", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
			v.pass(protocolIdle)
		}, 0},
		{"left by its tunnel", func(v *rigTunnel, s *fakeStream) { v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone}) }, 0},
		{"reset, and not read by the client", func(v *rigTunnel, s *fakeStream) {
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
		}, 0},
		{"overrun", func(v *rigTunnel, s *fakeStream) { v.tell(data("c1", messages.Window+1)) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				s := v.accepts("c1")
				s.slow, s.left = true, true
				test.how(v, s)
				v.wantHeld(s, test.want)
				v.tell(data("c1", 200), data("c1", 1))
				v.wantHeld(s, test.want)
				v.toConn(s, &messages.StreamClosed{})
			})
		})
	}
	t.Run("without a slot", func(t *testing.T) {
		inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
			v := r.readyByHand()
			s := r.stream("c1")
			v.tell(&messages.Accepted{Stream: s}, data("c1", 200))
			v.wantHeld(s, 0)
		})
	})
}

// Nothing is lost or duplicated between the client and the stream, and order
// is kept.
func TestDataKeepsItsOrderPerConnection(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		streams := map[string]*fakeStream{"c1": v.accepts("c1"), "c2": v.accepts("c2")}
		want := map[string]string{}
		var all []any
		for i := range 500 {
			id := fmt.Sprintf("c%d", i%3+1) // c3 does not exist
			all = append(all, &messages.Data{ConnID: id, Data: fmt.Append(nil, i)})
			want[id] += fmt.Sprintf(", write %d", i)
		}
		v.tell(all...)
		for id, s := range streams {
			v.wantStream(s, want[id][2:])
		}
		if len(v.handled) != 500 {
			t.Errorf("%d messages were given back", len(v.handled))
		}
		v.want(`control {"type":"tcp_close","connId":"c3","reason":"unknown"}`)
	})
}

// The peer's end leaves the client 30 s after its last byte, and not less.
func TestHalfClosedConnectionLivesWhileDataComes(t *testing.T) {
	for _, pause := range []time.Duration{time.Millisecond, time.Second, 17 * time.Second, protocolIdle - 1} {
		t.Run(pause.String(), func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready()
				s := v.accepts("c1")
				v.tell(data("c1", 200))
				time.Sleep(time.Hour) // an open one may be silent as long as it likes
				v.wantStream(s, "write 200")
				v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF})
				for range 5 {
					time.Sleep(pause)
					v.tell(data("c1", 200))
					v.wantStream(s, "write 200")
				}
				time.Sleep(protocolIdle - 1)
				r.settle()
				v.wantStream(s, "")
				time.Sleep(time.Nanosecond)
				r.settle()
				v.wantStream(s, "endwrite") // what waits for the client is not dropped
				v.want()                    // the stream has told the client of the end; the rest is silence
				if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "eof" {
					t.Errorf("logged is %v", lines)
				}
			})
		})
	}
}

func TestHalfClosedConnectionEndsWithTheClientsClose(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseEOF}, &messages.OutsideEnded{Reason: messages.CloseEOF})
		v.wantStream(s, "")
		v.tell(&messages.Data{ConnID: "c1", Data: []byte("last")}, closeOf("c1"))
		v.wantStream(s, "write last, endread, endwrite")
		time.Sleep(time.Hour)
		r.settle()
		v.wantStream(s, "")
	})
}

// A peer that takes nothing more must not keep a closed connection for ever,
// nor hold up its tunnel longer than an open one could.
func TestClosedConnectionWhosePeerStallsIsReset(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		s.slow = true
		v.tell(data("c1", 200), closeOf("c1"))
		v.wantStream(s, "write 200, endread, endwrite")
		for acked := range int64(3) { // it takes something now and then
			s.set(200-acked-1, acked+1)
			time.Sleep(flushPatience)
			r.settle()
			v.wantStream(s, "")
		}
		time.Sleep(flushPatience)
		r.settle()
		v.wantStream(s, "abort slow")
		if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "slow" {
			t.Errorf("logged is %v", lines)
		}
	})
}

func TestConnThatFailsEndsAlone(t *testing.T) {
	for _, method := range []string{"own", "open", "write", "credit", "endread", "endwrite", "abort"} {
		t.Run(method, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready(withCredit)
				other, q := v.accepts("c2"), v.asks("a", "GET")
				v.take()
				s := r.stream("c1")
				s.panicIn = method
				v.tell(&messages.Accepted{Stream: s})
				v.tell(&messages.Data{ConnID: "c1", Data: []byte("x")}, fromClient(&messages.Credit{ConnID: "c1", Bytes: 1}, 5))
				if method == "abort" {
					v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
				}
				v.tell(closeOf("c1"))
				if n := len(r.log.of("an actor failed")); n != 1 {
					t.Errorf("%d failures, want 1", n)
				}
				if r.alive(s.owner) || !s.over {
					t.Errorf("the conn lives: %v; its stream is over: %v", r.alive(s.owner), s.over)
				}
				if r.meter.of("restarted") > 0 {
					t.Error("the handler was restarted")
				}
				// Its stream has told the client; an answer would overtake that.
				v.take()
				v.tell(&messages.Data{ConnID: "c1", Data: []byte("x")})
				v.want()
				v.tell(&messages.Data{ConnID: "c2", Data: []byte("y")}, response("a", 200))
				v.wantStream(other, "write y")
				v.wantAnswer(q, "200")
				if started, ended := r.meter.of("raw started"), len(r.log.of("raw connection ended")); started != ended+1 {
					t.Errorf("%d connections started and %d ended", started, ended)
				}
				r.wantTaken(1, 0, 1)
			})
		})
	}
}
