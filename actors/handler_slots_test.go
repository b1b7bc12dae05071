package actors

import (
	"fmt"
	"net/netip"
	"testing"

	"wsproxy/messages"
)

// asksFrom sends a request of a source address to the handler.
func (v *rigTunnel) asksFrom(source, id, frame string) *rigRequest {
	v.r.t.Helper()
	q, open := v.request(id, frame)
	open.Count = netip.MustParsePrefix(source)
	v.tell(open)
	return q
}

// sends sends the handler a request with a body, which is let come.
func (v *rigTunnel) sends(source, id string) *rigRequest {
	v.r.t.Helper()
	q, open := v.request(id, "")
	open.Count, open.Body = netip.MustParsePrefix(source), true
	v.tell(open)
	return q
}

// wantProceeds fails unless a request was let proceed since the last look, or
// was not.
func (v *rigTunnel) wantProceeds(q *rigRequest, want bool) {
	v.r.t.Helper()
	select {
	case <-q.proceed:
		if !want {
			v.r.t.Errorf("request %s proceeds", q.id)
		}
	default:
		if want {
			v.r.t.Errorf("request %s does not proceed", q.id)
		}
	}
}

// wantMemory fails unless so much of the tunnel's memory is taken for what waits.
func (v *rigTunnel) wantMemory(n int) {
	v.r.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.taken != n {
		v.r.t.Errorf("%d bytes of memory are taken, want %d", v.taken, n)
	}
}

const third = "192.0.2.3/32"

// What waits for its turn holds memory, and gives way for that.
func TestWaitingFrameGivesWayForMemory(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		v := r.ready()
		v.asks("a", "GET a")
		v.want("control GET a")
		waits := v.asks("b", "GET b")
		v.tell(&messages.GiveWay{Bytes: 1})
		v.wantAnswer(waits, "memory")
		v.wantMemory(0)
		v.end()
	})
}

// One address has half of a tunnel's slots; its other requests wait, in that
// tunnel, and take nobody's place.
func TestOneAddressHasHalfOfATunnelsSlots(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 50, HTTPTunnel: 2}, needs: Tunnels{MaxHTTP: 4, MaxHTTPPerAddress: 2}}, func(r *tunnelRig) {
		v, w := r.ready(), r.ready()
		var ours []*rigRequest
		for i := range 11 {
			ours = append(ours, v.asksFrom(v4, fmt.Sprint(i), "GET"))
		}
		v.want("control GET", "control GET")
		v.wantMemory(8 * len("GET"))
		v.wantAnswer(ours[10], "http_share")
		w.asksFrom(v4, "elsewhere", "GET")
		w.want("control GET")
		v.asksFrom(other, "o", "GET o")
		v.want("control GET o")
		v.pass(protocolTurn - 1)
		v.tell(response("0", 200))
		v.wantAnswer(ours[0], "200")
		v.wantProceeds(ours[2], true)
		v.pass(1)
		for _, q := range ours[3:10] {
			v.wantAnswer(q, "http_share")
		}
		v.wantMemory(0)
		v.end()
		w.end()
	})
}

// A request takes its slot when its body is there: those that never come keep
// nobody out, however many addresses they have.
func TestBodiesThatNeverComeHaveNoSlot(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 50, HTTPTunnel: 2}, needs: Tunnels{MaxHTTP: 3, MaxHTTPPerAddress: 2}}, func(r *tunnelRig) {
		v := r.ready()
		var all []*rigRequest
		for i, source := range []string{v4, other, third} {
			for j := range 8 {
				q := v.sends(source, fmt.Sprint(i, "-", j))
				v.wantProceeds(q, true)
				all = append(all, q)
			}
			v.wantAnswer(v.sends(source, "late"), "http_share") // reading or waiting, four times as many as slots
		}
		r.wantTaken(1, 0, 0)
		v.asks("a", "GET a")
		v.want("control GET a")

		v.tell(&messages.RequestRead{ID: "0-3"}, &messages.RequestRead{ID: "0-3"}, &messages.RequestRead{ID: "nobody"})
		v.wantProceeds(all[3], true)
		r.wantTaken(1, 2, 0)
		v.wantProceeds(v.sends(v4, "in its place"), true)
		v.tell(response("0-3", 200))
		v.wantAnswer(all[3], "200")
		v.tell(&messages.CancelRequest{ID: "0-4"}, &messages.CloseHandler{Reason: messages.ReasonShutdown})
		v.wantAnswer(all[4], "abandoned")
		for i, q := range all {
			if i != 3 && i != 4 {
				v.wantAnswer(q, "shutdown")
			}
		}
		v.tell(&messages.RequestRead{ID: "0-5"})
		v.wantAnswer(all[5], "")
		r.wantTaken(1, 0, 0)
		v.end()
		r.wantFree()
	})
}

// With the body in hand a request waits for its turn like any other.
func TestRequestWithItsBodyWaitsForItsTurn(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTPTunnel: 1}, needs: Tunnels{MaxHTTP: 2, MaxHTTPPerAddress: 1}}, func(r *tunnelRig) {
		v := r.ready()
		first, second, third := v.sends(v4, "1"), v.sends(v4, "2"), v.sends(v4, "3")
		for _, q := range []*rigRequest{second, first, third} {
			v.wantProceeds(q, true)
			v.tell(&messages.RequestRead{ID: q.id})
		}
		v.wantProceeds(second, true)
		v.wantProceeds(first, false)
		v.tell(&messages.CancelRequest{ID: "2"})
		v.wantProceeds(first, true) // in the order in which the bodies were there
		v.pass(protocolTurn)
		v.wantAnswer(third, "http_share")
		v.end()
		r.wantFree()
	})
}

// When all slots are taken the newest request of the address that has most gives
// way, until the newcomer would have as many.
func TestAddressThatHasMostGivesWay(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 4}}, func(r *tunnelRig) {
		v := r.ready()
		var theirs []*rigRequest
		for i := range 4 {
			theirs = append(theirs, v.asksFrom(v4, fmt.Sprint(i), "GET"))
		}
		v.take()
		v.wantAnswer(v.asksFrom(v4, "own", "GET"), "tunnel_busy")
		a := v.asksFrom(other, "a", "GET a")
		v.want("control GET a")
		v.wantAnswer(theirs[3], "gave_way")
		if got := fmt.Sprint(v.forgot); got != "[3]" {
			t.Errorf("the mux was to forget %s", got)
		}
		r.wantTaken(1, 4, 0)
		v.tell(response("3", 200)) // late
		v.want()
		b := v.asksFrom(other, "b", "GET b")
		v.want("control GET b")
		v.wantAnswer(theirs[2], "gave_way")
		v.wantAnswer(v.asksFrom(other, "c", "GET c"), "tunnel_busy") // it would have more
		v.asksFrom(third, "d", "GET d")
		v.want("control GET d")
		v.wantAnswer(b, "gave_way") // the newest of those that have as many
		v.asksFrom("192.0.2.4/32", "e", "GET e")
		v.want("control GET e")
		v.wantAnswer(theirs[1], "gave_way")
		v.wantAnswer(v.asksFrom("192.0.2.5/32", "f", "GET f"), "tunnel_busy")
		v.wantAnswer(a, "")
		v.wantAnswer(theirs[0], "")
		r.wantTaken(1, 4, 0)
		v.end()
		r.wantFree()
	})
}

// An answer on its way to an outside client that takes it slowly has a slot, and
// gives way as well: by the edge, whose claims come back when it hears of it.
func TestAnswerOnItsWayGivesWay(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxHTTP: 2}}, func(r *tunnelRig) {
		v := r.ready()
		first, second := v.asksFrom(v4, "1", "GET"), v.asksFrom(v4, "2", "GET")
		v.tell(response("2", 200), response("1", 200))
		v.take()
		v.asksFrom(other, "3", "GET 3")
		v.want("control GET 3")
		if first.revoked != 0 || second.revoked != 1 {
			t.Errorf("revoked were %d and %d", first.revoked, second.revoked)
		}
		r.wantTaken(1, 3, 0)
		v.wantAnswer(second, "200") // what the edge has had
		r.wantTaken(1, 2, 0)
		v.wantAnswer(v.asksFrom(third, "4", "GET 4"), "tunnel_busy")
		v.wantAnswer(first, "200")
		v.asksFrom(third, "5", "GET 5")
		v.want("control GET 5")
		r.wantTaken(1, 2, 0)
		v.end()
		r.wantFree()
	})
}

// What waits of a request counts as memory until it goes on, whatever becomes of
// it.
func TestWaitingFramesCountAsMemory(t *testing.T) {
	for name, how := range map[string]func(*rigTunnel){
		"time-out":  func(v *rigTunnel) { v.pass(protocolTurn) },
		"cancelled": func(v *rigTunnel) { v.tell(&messages.CancelRequest{ID: "b"}) },
		"turn":      func(v *rigTunnel) { v.tell(&messages.CancelRequest{ID: "a"}) },
		"ended":     func(v *rigTunnel) { v.tell(&messages.CloseHandler{Reason: messages.ReasonClientGone}) },
		"restarted": func(v *rigTunnel) {
			v.r.fault = failOnce[*messages.Garbage]()
			v.tell(&messages.Garbage{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
				v := r.ready()
				v.asks("a", "GET a")
				v.wantMemory(0) // the mux has it
				v.asks("b", "GET a long one")
				v.wantMemory(len("GET a long one"))
				v.scarce = true
				v.wantAnswer(v.asks("c", "GET"), "memory")
				v.scarce = false
				how(v)
				v.wantMemory(0)
			})
		})
	}
}

// The edge learns by Taken through which Mux its frame goes, without being woken.
func TestTakenFramesAreKnown(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		v := r.ready()
		taken := make(chan messages.Mux, 2)
		_, open := v.request("a", "GET")
		open.Taken = taken
		v.tell(open)
		if len(taken) != 1 || open.Frame != nil {
			t.Errorf("told of %d, the frame is %q", len(taken), open.Frame)
		}
		q, open := v.request("b", "GET b")
		open.Taken = taken
		v.tell(open)
		if len(taken) != 2 {
			t.Error("not told of one that waits")
		}
		v.tell(&messages.CancelRequest{ID: "a"})
		v.wantProceeds(q, true)
		if string(open.Frame) != "GET b" {
			t.Errorf("the frame of one that waited is %q", open.Frame)
		}
	})
}
