package actors

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"wsproxy/messages"
)

func TestRequestsAreAnsweredInWhateverOrder(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		a, b, c := v.asks("a", "GET a"), v.asks("b", "GET b"), v.asks("c", "GET c")
		v.want("control GET a", "control GET b", "control GET c")
		r.wantTaken(1, 3, 0)
		v.tell(response("c", 203), response("a", 201))
		v.wantAnswer(b, "")
		v.wantAnswer(a, "201")
		v.wantAnswer(c, "203")
		v.tell(response("b", 202))
		v.wantAnswer(b, "202")
		r.wantTaken(1, 0, 0)
		v.want()
		v.end()
		r.wantFree()
	})
}

func TestAnswersThatNobodyWaitsForAreDropped(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		a := v.asks("a", "GET a")
		v.take()
		v.tell(response("a", 200), response("a", 201), response("nobody", 200), response("", 200))
		v.wantAnswer(a, "200")
		b := v.asks("b", "GET b")
		v.tell(&messages.CancelRequest{ID: "b"}, response("b", 200))
		v.wantAnswer(b, "abandoned")
		v.tell(&messages.CancelRequest{ID: "b"}, &messages.CancelRequest{ID: "a"}, &messages.CancelRequest{ID: "nobody"})
		v.wantAnswer(a, "")
		v.wantAnswer(b, "")
		v.want("control GET b")
		if got := fmt.Sprint(v.handled, v.dropped); got != "[0 0 0 0 0] [10 10 10 10]" {
			t.Errorf("given back were %s", got)
		}
		if got := fmt.Sprint(v.forgot); got != "[b]" { // a was answered
			t.Errorf("the mux was to forget %s", got)
		}
		r.wantTaken(1, 0, 0)
	})
}

func TestRequestsBeyondTheTunnelsBoundAreRefused(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 3}}, func(r *tunnelRig) {
		v := r.ready()
		var waiting []*rigRequest
		for i := range 3 { // with a body still to come, too
			waiting = append(waiting, v.asks(fmt.Sprint(i), []string{"", "GET", ""}[i]))
		}
		v.take()
		v.wantAnswer(v.asks("3", "GET"), "tunnel_busy")
		v.wantAnswer(v.asks("4", ""), "tunnel_busy")
		v.want()
		r.wantTaken(1, 3, 0)
		v.tell(response("1", 200), &messages.CancelRequest{ID: "0"})
		six := v.asks("6", "GET") // in place of the cancelled one
		v.want("control GET")
		v.wantAnswer(v.asks("4", "GET"), "tunnel_busy") // until the outside client has its answer
		v.wantAnswer(waiting[1], "200")
		v.tell(&messages.Delivered{ID: "1"}, &messages.Delivered{ID: "nobody"}, response("6", 200))
		v.wantAnswer(six, "200")
		for _, id := range []string{"5", "8"} {
			v.wantAnswer(v.asks(id, "GET"), "")
		}
		v.want("control GET", "control GET")
		v.wantAnswer(v.asks("7", "GET"), "tunnel_busy")
	})
}

// Two requests under one id would make two waiters of one answer.
func TestRequestWithAnIDInUseIsRefused(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		first := v.asks("a", "GET 1")
		v.wantAnswer(v.asks("a", "GET 2"), "tunnel_busy")
		v.want("control GET 1")
		v.tell(response("a", 200))
		v.wantAnswer(first, "200")
		r.wantTaken(1, 0, 0)
	})
}

func TestRequestWithABodyProceedsOnce(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		q := v.asks("a", "")
		if len(q.proceed) != 1 {
			t.Fatalf("it was let proceed %d times", len(q.proceed))
		}
		v.want() // the client hears of it from the mux, when the body is there
		v.tell(response("a", 200))
		v.wantAnswer(q, "200")
		b, open := v.request("b", "PUT")
		v.tell(open)
		v.want("control PUT")
		if len(q.proceed) != 1 || len(b.proceed) != 0 {
			t.Error("let proceed though there was nothing to wait for")
		}
	})
}

// One for which there is no memory is refused, and leaves nothing behind.
func TestRequestWithoutMemoryIsRefused(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		v.scarce = true
		q := v.asks("a", "GET a")
		v.wantAnswer(q, "memory")
		v.want()
		r.wantTaken(1, 0, 0)
		v.scarce = false
		v.asks("b", "GET b")
		v.want("control GET b")
	})
}

// Whoever waits for a request when its handler fails waits no longer: what the
// client has not been sent of them it never is.
func TestRequestsOfAHandlerThatFailedAreForgotten(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		r.fault = failOnce[*messages.FromClient]()
		q := v.asks("a", "GET a")
		v.tell(response("a", 200))
		v.wantAnswer(q, "restarted")
		if got := fmt.Sprint(v.forgot, v.dropped); got != "[a] [10]" {
			t.Errorf("the mux was to forget and to give back %s", got)
		}
	})
}

// The limits' word may come when the request is gone already: what they granted
// goes back, and the client hears nothing.
func TestClaimOfARequestThatEndedFirstGoesBack(t *testing.T) {
	for name, how := range map[string]any{
		"cancelled": &messages.CancelRequest{ID: "a"},
		"restarted": &messages.Garbage{What: "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
				v := r.readyByHand()
				r.fault = failOnce[*messages.Garbage]()
				q := v.asks("a", "GET")
				asked := r.asked.all()
				if len(asked) != 1 {
					t.Fatalf("the limits were sent %d messages", len(asked))
				}
				m := asked[0].(*messages.Acquire)
				want := v.httpClaims()
				if m.Holder.Id != v.handler.Id || m.Tag != "a" || !slices.Equal(m.Claims, want) {
					t.Fatalf("asked was %+v", m)
				}
				v.tell(how)
				if len(q.answers) != 1 {
					t.Errorf("%d answers", len(q.answers))
				}
				if sent := r.asked.all(); len(sent) != 1 || *sent[0].(*messages.Withdraw) != (messages.Withdraw{Holder: v.handler, Tag: "a"}) {
					t.Fatalf("the limits were sent %v for a claim that they have not granted", sent)
				}
				v.tell(&messages.Granted{Claims: m.Claims, Tag: m.Tag})
				sent := r.asked.all()
				if len(sent) != 1 {
					t.Fatalf("the limits were sent %d messages", len(sent))
				}
				back := sent[0].(*messages.Release)
				if back.Holder.Id != v.handler.Id || !slices.Equal(back.Claims, want) {
					t.Errorf("given back was %+v", back)
				}
				v.tell(&messages.Refused{Reason: messages.ReasonHTTPLimit, Tag: "a"})
				if len(q.answers) != 1 {
					t.Errorf("%d answers", len(q.answers))
				}
				v.want()
			})
		})
	}
}

func TestRequestIsRefusedWhenTheLimitsFail(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		q := v.asks("a", "GET")
		v.tell(&messages.Refused{Reason: messages.ReasonInternal, Tag: "a"})
		v.wantAnswer(q, "internal")
		v.want()
		v.tell(response("a", 200))
		v.wantAnswer(q, "")

		q = v.asks("b", "GET b") // a refusal after the grant is nobody's
		v.tell(&messages.Granted{Claims: v.httpClaims(), Tag: "b"}, &messages.Refused{Reason: messages.ReasonInternal, Tag: "b"})
		v.wantAnswer(q, "")
		v.tell(response("b", 200))
		v.wantAnswer(q, "200")
	})
}

// A slot comes back once: from the handler, or from the edge once the outside
// client has the answer. Twice, and another request's slot would come back.
func TestSlotOfARequestComesBackOnce(t *testing.T) {
	for _, test := range []struct {
		name     string
		first    any
		answer   string
		releases int // by the handler
	}{
		{"answered", response("a", 200), "200", 0},
		{"cancelled", &messages.CancelRequest{ID: "a"}, "abandoned", 1},
		{"restarted", &messages.Garbage{}, "restarted", 1},
		{"closed", &messages.CloseHandler{Reason: messages.ReasonClientGone}, "tunnel_gone", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
				v := r.readyByHand()
				r.fault = failOnce[*messages.Garbage]()
				q := v.asks("a", "")
				r.asked.all()
				v.tell(&messages.Granted{Claims: v.httpClaims(), Tag: "a"}, test.first,
					response("a", 201), &messages.CancelRequest{ID: "a"}, &messages.CloseHandler{Reason: messages.ReasonClientGone})
				sent := r.asked.all()
				if len(sent) != test.releases {
					t.Errorf("the limits were sent %d messages, want %d", len(sent), test.releases)
				}
				v.wantAnswer(q, test.answer)
			})
		})
	}
}

func TestEveryRequestIsAnsweredWhenTheTunnelEnds(t *testing.T) {
	for reason, want := range map[messages.Reason]string{
		messages.ReasonClientGone:    "tunnel_gone",
		messages.ReasonClientStalled: "tunnel_gone",
		messages.ReasonInternal:      "tunnel_gone",
		messages.ReasonShutdown:      "shutdown",
	} {
		t.Run(string(reason), func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready()
				sent, reading := v.asks("a", "GET"), v.asks("b", "")
				v.want("control GET")
				v.tell(&messages.CloseHandler{Reason: reason})
				v.wantAnswer(sent, want)
				v.wantAnswer(reading, want)
				late := v.asks("c", "GET")
				if want == "tunnel_gone" {
					want = "no_tunnel"
				}
				v.wantAnswer(late, want)
				v.want()
				r.wantTaken(1, 0, 0)
			})
		})
	}
}

// A tunnel that is stopped, and not closed, answers too.
func TestEveryRequestIsAnsweredWhenTheTunnelFails(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		q, s := v.asks("a", "GET"), v.accepts("c1")
		r.root.Stop(v.owner)
		r.settle()
		v.wantAnswer(q, "tunnel_gone")
		if s.Ended() != messages.CloseTunnelEnded {
			t.Errorf("the connection ended for %q", s.Ended())
		}
		v.want("control GET", "finish internal")
		if r.alive(v.handler) || r.meter.of("tunnel ended internal") != 1 || r.meter.of("raw ended tunnel_ended") != 1 {
			t.Errorf("what is left: handler %v, %v", r.alive(v.handler), r.meter.counts)
		}
		r.wantFree()
	})
}

func TestManyRequestsComeAndGo(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 100}}, func(r *tunnelRig) {
		v := r.ready()
		waiting := make(map[string]*rigRequest)
		for i := range 2000 {
			id := fmt.Sprint(i)
			q, open := v.request(id, "GET")
			waiting[id] = q
			v.r.root.Send(v.handler, open)
			if i%100 == 99 {
				r.settle()
				for id := range waiting { // in no order
					r.root.Send(v.handler, response(id, 200))
				}
				r.settle()
				for id, q := range waiting {
					v.wantAnswer(q, "200")
					delete(waiting, id)
				}
			}
		}
		r.wantTaken(1, 0, 0)
		if n := len(v.handled); n != 2000 {
			t.Errorf("%d messages were given back", n)
		}
	})
}

// Requests that the limits have not judged take nobody's place, and those that
// they admit at once are no more than there may be.
func TestRequestsThatComeAtOnceAreCountedWhenAdmitted(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}, needs: Tunnels{MaxHTTP: 3}}, func(r *tunnelRig) {
		v := r.ready()
		var flood []*rigRequest
		var opens []any
		for i := range 5 {
			q, open := v.request(fmt.Sprint("a", i), fmt.Sprint("GET a", i))
			flood, opens = append(flood, q), append(opens, open)
		}
		_, open := v.request("b", "GET b")
		open.Count = netip.MustParsePrefix("2001:db8::/64")
		v.tell(append(opens, open)...)
		v.want("control GET a0", "control GET b")
		r.wantTaken(1, 2, 0)
		v.wantAnswer(v.asks("c", ""), "http_limit") // the flood fills its queue, and takes nobody's place
		_, open = v.request("d", "GET d")
		open.Count = netip.MustParsePrefix("2001:db8:1::/64")
		v.tell(open)
		v.want("control GET d")
		for i := range flood[:4] {
			v.tell(&messages.CancelRequest{ID: fmt.Sprint("a", i)})
			if len(flood[i+1].proceed) != 1 {
				t.Errorf("a%d does not proceed in its turn", i+1)
			}
		}
	})
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 3}}, func(r *tunnelRig) {
		v := r.ready()
		var all []*rigRequest
		var opens []any
		for i := range 5 {
			q, open := v.request(fmt.Sprint(i), fmt.Sprint("GET ", i))
			all, opens = append(all, q), append(opens, open)
		}
		v.tell(opens...)
		v.want("control GET 0", "control GET 1", "control GET 2")
		v.wantAnswer(all[3], "tunnel_busy")
		v.wantAnswer(all[4], "tunnel_busy")
		r.wantTaken(1, 3, 0)
		v.tell(response("1", 200))
		v.wantAnswer(all[1], "200")
		v.asks("5", "GET 5")
		v.want("control GET 5")
	})
}
