package actors

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

const rigName = "00112233445566aa" // the subdomain that a name leads to

func withName(open *messages.OpenTunnel) { open.Subdomain = rigName }

// leadsTo fails unless the requests for the name go to this tunnel's handler,
// and nowhere else; nil is no tunnel.
func (r *tunnelRig) leadsTo(want *rigTunnel, bytes bool) {
	r.t.Helper()
	for _, kind := range []bool{false, true} {
		pid := HandlerPID(r.system, rigName, kind)
		there := pid != nil && r.alive(pid)
		switch {
		case there != (want != nil && kind == bytes):
			r.t.Errorf("somebody handles requests of the name, as bytes %t: %t", kind, there)
		case there && pid.Id != want.handler.Id:
			r.t.Errorf("requests go to %s, not to %s", pid.Id, want.handler.Id)
		}
	}
}

func TestLaterTunnelTakesTheNameOver(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		first := r.knock(withName)
		first.say(&messages.Upgraded{})
		first.say(&messages.PortOpened{Port: rigFirstPort})
		if calls := first.take(); !strings.Contains(calls[len(calls)-1], `"tunnelUrl":"https://`+rigName+`.t.example"`) {
			t.Errorf("the client is told %q", calls)
		}
		r.leadsTo(first, false)
		q := first.asks("q", "GET q")
		first.want("control GET q")

		for range 3 { // they never get so far
			never := r.knock(withName)
			never.say(&messages.Abandoned{})
			never.say(&messages.MuxClosed{})
		}
		second := r.knock(withName)
		second.say(&messages.Upgraded{})
		first.want()
		r.leadsTo(first, false)
		second.onStart = func() { r.leadsTo(second, false) } // before its client can know
		second.say(&messages.PortOpened{Port: rigFirstPort + 1})
		first.want("finish name_taken")
		first.wantAnswer(q, "tunnel_gone")
		r.leadsTo(second, false)
		first.wantAnswer(first.asks("late", "GET late"), "no_tunnel")

		first.say(&messages.MuxClosed{})
		if r.alive(first.owner) || r.meter.of("tunnel ended name_taken") != 1 {
			t.Errorf("the first is left, or the meter counts %v", r.meter.counts)
		}
		r.leadsTo(second, false)
		second.take()
		second.wantAnswer(second.asks("q", "GET q"), "")
		second.want("control GET q")
		second.end()
		r.leadsTo(nil, false)
		third := r.ready(withName) // as if nothing had been
		r.leadsTo(third, false)
		third.end()
		r.wantFree()
	})
}

// Limits are judged before: who is refused ends nothing.
func TestTunnelBeyondTheLimitTakesNoName(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
		first := r.ready(withName)
		second := r.knock(withName)
		if got := second.answer(); got != "user_limit" {
			t.Errorf("the second is %s", got)
		}
		second.say(&messages.MuxClosed{})
		third := r.knock(withName, func(open *messages.OpenTunnel) { open.User, open.Upgrade = "bob", false })
		if got := third.answer(); got != "not_websocket" {
			t.Errorf("the third is %s", got)
		}
		third.say(&messages.MuxClosed{})
		first.want()
		r.leadsTo(first, false)
	})
}

// The raw connections of the one before have what they have for their peers
// delivered, and keep nothing from working meanwhile.
func TestNameIsTakenOverWhileRawConnectionsLeave(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		var leaving []*rigTunnel
		var streams []*fakeStream
		for range rigLastPort - rigFirstPort + 3 { // more than there are ports
			v := r.ready(withName)
			if n := len(leaving); n > 0 {
				leaving[n-1].want("finish name_taken")
				leaving[n-1].say(&messages.MuxClosed{})
			}
			r.leadsTo(v, false)
			s := v.accepts("c1")
			s.slow = true
			v.tell(&messages.Data{ConnID: "c1", Data: []byte("a")})
			leaving, streams = append(leaving, v), append(streams, s)
		}
		last := leaving[len(leaving)-1]
		for i, v := range leaving[:len(leaving)-1] {
			if !r.alive(streams[i].owner) {
				t.Error("a connection has ended with its tunnel")
			}
			v.toConn(streams[i], &messages.StreamClosed{})
			if r.alive(v.owner) || r.alive(v.handler) {
				t.Error("an actor is left")
			}
			r.leadsTo(last, false)
		}
		last.wantAnswer(last.asks("q", "GET q"), "")
	})
}

// Of two on their way the later one has the name, whichever is ready first: the
// client of the other one may have given up long ago.
func TestLatestOfTwoAtOnceHasTheName(t *testing.T) {
	for _, lastFirst := range []bool{false, true} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			earlier, later := r.knock(withName), r.knock(withName)
			order := []*rigTunnel{earlier, later}
			if lastFirst {
				order = []*rigTunnel{later, earlier}
			}
			for i, v := range order {
				v.say(&messages.Upgraded{})
				v.say(&messages.PortOpened{Port: rigFirstPort + uint16(i)})
			}
			if calls := earlier.take(); calls[len(calls)-1] != "finish name_taken" || lastFirst == strings.Contains(fmt.Sprint(calls), "start") {
				t.Errorf("the earlier one was told %q", calls)
			}
			if last := later.last(); !strings.HasPrefix(last, "start") {
				t.Errorf("the later one was told %q", last)
			}
			r.leadsTo(later, false)
			earlier.say(&messages.MuxClosed{})
			r.leadsTo(later, false)
			later.end()
			r.leadsTo(nil, false)
			r.wantFree()
		})
	}
}

// The one that takes over may take HTTP in another way.
func TestNameIsTakenOverByTheOtherKind(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		var before *rigTunnel
		for i := range 6 {
			bytes := i%2 == 1
			v := r.ready(withName, func(open *messages.OpenTunnel) { open.Credit, open.Bytes = bytes, bytes })
			r.leadsTo(v, bytes)
			if before != nil {
				before.say(&messages.MuxClosed{})
			}
			before = v
		}
	})
}

// A tunnel that ends while it waits for its name neither begins nor takes it.
func TestTunnelThatEndsBeforeItHasItsName(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		first := r.ready(withName)
		second := r.knock(withName)
		second.say(&messages.Upgraded{})
		second.panicIn = "start" // it has the name by then, and fails
		second.say(&messages.PortOpened{Port: rigFirstPort + 1})
		first.want("finish name_taken")
		first.say(&messages.MuxClosed{})
		if r.alive(second.owner) {
			t.Error("the second is left")
		}
		r.leadsTo(nil, false)

		third := r.knock(withName)
		third.say(&messages.Upgraded{})
		r.root.Send(third.owner, &messages.PortOpened{Port: rigFirstPort})
		r.root.Send(third.owner, &messages.MuxEnded{Reason: messages.ReasonClientGone})
		r.root.Send(third.owner, &messages.MuxClosed{})
		r.settle()
		if r.alive(third.owner) {
			t.Error("the third is left")
		}
		r.leadsTo(nil, false)
		r.send(r.tunnels, &takeName{rigName, 99, third.owner, third.handler}) // its end has overtaken this
		if _, found := r.system.ProcessRegistry.GetLocal(tunnelsName + "/" + rigName); found {
			t.Error("a tunnel that has ended has a name")
		}
		r.wantFree()
	})
}

// A name that is taken over again and again, by tunnels in every state, leaves
// nothing behind.
func TestNameIsTakenOverManyTimes(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		before := r.system.ProcessRegistry.LocalPIDs
		count := func() (n int) {
			for _, bucket := range before.LocalPIDs {
				n += bucket.Count()
			}
			return n
		}
		had := count()
		for range 200 {
			v := r.knock(withName)
			r.root.Send(v.owner, &messages.Upgraded{})
			r.settle()
			r.root.Send(v.owner, &messages.PortOpened{Port: rigFirstPort})
			v.onFinish = func() { r.root.Send(v.owner, &messages.MuxClosed{}) }
		}
		r.settle()
		if n := r.meter.of("tunnel ended name_taken"); n != 199 {
			t.Errorf("%d tunnels were taken over", n)
		}
		r.send(r.tunnels, &messages.Shutdown{})
		time.Sleep(handlerPatience)
		r.settle()
		if n := count(); n != had {
			t.Errorf("%d actors and doors, were %d", n, had)
		}
		r.wantFree()
	})
}
