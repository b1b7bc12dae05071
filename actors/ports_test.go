package actors

import (
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A lodger is an actor that holds a port and tells a probe what it is sent.
type lodger struct {
	pid *actor.PID
	*rigProbe
}

func (r *tunnelRig) lodger() lodger {
	p := r.probe()
	return lodger{r.root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*messages.PortTaken); ok {
			p.got <- m
		}
	})), p}
}

// takes returns the port that a lodger gets.
func (r *tunnelRig) takes(l lodger, busy uint16) uint16 {
	r.t.Helper()
	r.takePort(l.pid, busy)
	return l.port()
}

func (r *tunnelRig) ends(l lodger) {
	r.root.Stop(l.pid)
	r.settle()
}

func TestPortsLendBothEndsOfTheRangeAndThenNone(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		var got []uint16
		for range 5 {
			got = append(got, r.takes(r.lodger(), 0))
		}
		if want := []uint16{10000, 10001, 10002, 0, 0}; !slices.Equal(got, want) {
			t.Errorf("lent were %v, want %v", got, want)
		}
	})
}

func TestFreedPortIsLentAgainLast(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		first, second := r.lodger(), r.lodger()
		r.takes(first, 0)
		r.takes(second, 0)
		r.ends(second)
		r.ends(first)
		var got []uint16
		for range 3 {
			got = append(got, r.takes(r.lodger(), 0))
		}
		if want := []uint16{10002, 10001, 10000}; !slices.Equal(got, want) {
			t.Errorf("lent were %v, want the one that came back longest ago first: %v", got, want)
		}
	})
}

func TestBusyPortGoesToTheEndForOthersToTry(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		l := r.lodger()
		got := []uint16{r.takes(l, 0), r.takes(l, 10000), r.takes(l, 10001)}
		other := r.lodger()
		got = append(got, r.takes(other, 0), r.takes(other, 10000), r.takes(r.lodger(), 0))
		if want := []uint16{10000, 10001, 10002, 10000, 10001, 10000}; !slices.Equal(got, want) {
			t.Errorf("lent were %v, want %v", got, want)
		}
	})
}

// With nothing else free, the holder of a busy port goes without, and the port
// is not lost: others may find it usable.
func TestBusyLastPortIsNotLentToTheSameHolder(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		r.takes(r.lodger(), 0)
		r.takes(r.lodger(), 0)
		l := r.lodger()
		if port := r.takes(l, 0); port != 10002 {
			t.Fatalf("lent was %d", port)
		}
		if port := r.takes(l, 10002); port != 0 {
			t.Errorf("the busy port is lent again at once: %d", port)
		}
		if port := r.takes(r.lodger(), 0); port != 10002 {
			t.Errorf("the next holder gets %d, want the port that was busy", port)
		}
		r.ends(l) // holds nothing: frees nothing
		if port := r.takes(r.lodger(), 0); port != 0 {
			t.Errorf("port %d is lent twice", port)
		}
	})
}

// A tunnel that has tried often enough keeps none of those that it can't use.
func TestHolderThatGivesUpKeepsNoPort(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		l, other := r.lodger(), r.lodger()
		for range 2 { // with a port, and without
			r.takes(l, 0)
			r.send(r.ports, &messages.TakePort{Holder: l.pid, Busy: 10000, Last: true})
			if port := l.port(); port != 0 {
				t.Errorf("lent was %d", port)
			}
		}
		r.takes(other, 0)
		r.send(r.ports, &messages.TakePort{Holder: r.lodger().pid, Last: true})
		r.ends(l)
		r.ends(other)
		r.wantFree()
	})
}

func TestHolderHasOnePort(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		l := r.lodger()
		got := []uint16{r.takes(l, 0), r.takes(l, 0), r.takes(l, 10002)} // 10002 is not its own
		if want := []uint16{10000, 10000, 10000}; !slices.Equal(got, want) {
			t.Errorf("lent were %v, want %v", got, want)
		}
		r.ends(l)
		r.wantFree()
	})
}

func TestPortComesBackWhenItsHolderEnds(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		for range 10 { // also holders that had a busy one, and those that were gone before they asked
			l, gone := r.lodger(), r.lodger()
			r.takes(l, r.takes(l, 0))
			r.ends(gone)
			r.takePort(gone.pid, 0)
			r.ends(l)
		}
		r.wantFree()
	})
}

// A PID that never lived can't end: what it asks for must not be gone for ever.
func TestHolderThatNeverLivedKeepsNoPort(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		r.takePort(r.system.NewLocalPID("nobody"), 0)
		r.wantFree()
	})
}

func TestPanicInPortsLosesNoPort(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		l := r.lodger()
		r.takes(l, 0)
		r.send(r.ports, &messages.TakePort{})        // no holder to name: panics
		r.send(r.ports, (*messages.TakePort)(nil))   // panics
		r.send(r.ports, &actor.Terminated{Who: nil}) // panics
		if n := len(r.log.of("an actor failed")); n != 3 {
			t.Errorf("%d failures are logged, want 3", n)
		}
		if port := r.takes(l, 0); port != 10000 {
			t.Errorf("the holder has %d after the failure", port)
		}
		r.ends(l) // the death watch has outlived the failures
		r.wantFree()
	})
}
