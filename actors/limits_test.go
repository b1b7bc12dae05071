package actors

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/limits"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

func lookupClaim(addr string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimLookup, Source: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

// newDesk returns the desk of a limits actor with these bounds.
func newDesk(t testing.TB, bounds Bounds) *desk.Desk {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	return desk.New(t, desk.NewSystem(t, log), limits.NewBook(bounds), log)
}

func TestLimitsBoundEachKindByItself(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 2, PerUser: 1})
	h := d.Holder()
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire(messages.ReasonAddressLimit, h, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.2")) // somebody else's
	d.WantAcquire("", h, desk.UserClaim("ann"))
	d.WantAcquire(messages.ReasonUserLimit, h, desk.UserClaim("ann"))
	d.WantAcquire("", h, desk.UserClaim("bob"))
	d.WantAcquire("", h, lookupClaim("192.0.2.1")) // sessions and look-ups don't count together
	d.WantAcquire("", h, lookupClaim("192.0.2.1"))
	d.WantAcquire(messages.ReasonLookupLimit, h, lookupClaim("192.0.2.1"))
}

func TestLimitsGrantAllOrNothing(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1, PerUser: 1})
	h := d.Holder()
	d.WantAcquire("", h, desk.UserClaim("ann"))
	d.WantAcquire(messages.ReasonUserLimit, h, desk.AddressClaim("192.0.2.1"), desk.UserClaim("ann"))
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.1")) // the refusal has not used it up
	d.WantAcquire(messages.ReasonAddressLimit, h, desk.AddressClaim("192.0.2.2"), desk.AddressClaim("192.0.2.2"))
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.2")) // one of the two would have fitted
}

func TestLimitOfZeroIsNoLimit(t *testing.T) {
	d := newDesk(t, Bounds{})
	h := d.Holder()
	for range 200 {
		d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"), desk.UserClaim("ann"), lookupClaim("192.0.2.1"))
	}
}

func TestReleasedSlotIsFree(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.Holder(), d.Holder()
	d.WantAcquire("", one, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire(messages.ReasonAddressLimit, two, desk.AddressClaim("192.0.2.1"))
	d.Release(one, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire("", two, desk.AddressClaim("192.0.2.1"))
}

func TestReleaseOfWhatIsNotHeldFreesNothing(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.Holder(), d.Holder()
	d.WantAcquire("", one, desk.AddressClaim("192.0.2.1"))
	d.Release(two, desk.AddressClaim("192.0.2.1")) // another's
	d.Release(one, desk.AddressClaim("192.0.2.2")) // another claim
	d.Release(one, messages.Claim{Kind: 99})       // no kind at all
	d.WantAcquire(messages.ReasonAddressLimit, two, desk.AddressClaim("192.0.2.1"))
	d.Release(one, desk.AddressClaim("192.0.2.1"))
	d.Release(one, desk.AddressClaim("192.0.2.1")) // a second time
	d.WantAcquire("", two, desk.AddressClaim("192.0.2.1"))
	d.WantAcquire(messages.ReasonAddressLimit, one, desk.AddressClaim("192.0.2.1"))
}

func TestSlotComesBackWhenItsHolderEnds(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1, PerUser: 1})
	one, two := d.Holder(), d.Holder()
	d.WantAcquire("", one, desk.AddressClaim("192.0.2.1"), desk.UserClaim("ann"))
	d.Root.Stop(one)
	testkit.Eventually(t, "the slot of an ended holder is free", func() bool {
		return d.Acquire(two, desk.AddressClaim("192.0.2.1"), desk.UserClaim("ann")) == ""
	})
}

// The holder's end may reach the registry before, while or after the limits
// handle its request.
func TestSlotComesBackWhenItsHolderEndsAroundTheGrant(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	for range 200 {
		h := d.Holder()
		d.Root.Stop(h)
		d.Acquire(h, desk.AddressClaim("192.0.2.1"))
	}
	last := d.Holder()
	testkit.Eventually(t, "no ended holder keeps the slot", func() bool {
		return d.Acquire(last, desk.AddressClaim("192.0.2.1")) == ""
	})
}

func TestHolderThatNeverLivedKeepsNoSlot(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	d.Acquire(actor.NewPID(d.PID.Address, "nobody"), desk.AddressClaim("192.0.2.1"))
	h := d.Holder()
	testkit.Eventually(t, "the slot is free", func() bool { return d.Acquire(h, desk.AddressClaim("192.0.2.1")) == "" })
}

// A holder that has given everything back and asks again must be watched still,
// or again.
func TestHolderIsWatchedAfterItsFirstRelease(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.Holder(), d.Holder()
	d.WantAcquire("", one, lookupClaim("192.0.2.1"))
	d.Release(one, lookupClaim("192.0.2.1"))
	d.WantAcquire("", one, desk.AddressClaim("192.0.2.1"))
	d.Root.Stop(one)
	testkit.Eventually(t, "the slot is free", func() bool { return d.Acquire(two, desk.AddressClaim("192.0.2.1")) == "" })
}

func TestPanicInLimitsLosesNoSlotAndIsAnswered(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 2})
	h := d.Holder()
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"))
	faults := map[string]*messages.Acquire{
		"no such kind":                {Holder: h, Claims: []messages.Claim{{Kind: 99}}},
		"no such kind after good one": {Holder: h, Claims: []messages.Claim{desk.AddressClaim("192.0.2.1"), {Kind: 99}}},
		"no holder":                   {Claims: []messages.Claim{desk.AddressClaim("192.0.2.1")}},
	}
	for name, fault := range faults {
		refused, ok := d.Ask(d.Limits, fault).(*messages.Refused)
		if !ok || refused.Reason != messages.ReasonInternal {
			t.Fatalf("%s: the answer is %#v", name, refused)
		}
	}
	d.Root.Send(d.Limits, &messages.Release{Claims: []messages.Claim{desk.AddressClaim("192.0.2.1")}}) // panics too
	d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"))                                               // one of two was left, and is
	d.WantAcquire(messages.ReasonAddressLimit, h, desk.AddressClaim("192.0.2.1"))
	d.Root.Stop(h) // it is watched still
	other := d.Holder()
	testkit.Eventually(t, "both slots are free", func() bool {
		return d.Acquire(other, desk.AddressClaim("192.0.2.1"), desk.AddressClaim("192.0.2.1")) == ""
	})
}

// Thousands who ask at once: never are more slots held than there are, and in
// the end all are free.
func TestConcurrentClaimsNeverExceedTheBound(t *testing.T) {
	const askers, rounds, bound = 16, 250, 5
	d := newDesk(t, Bounds{PerAddress: bound, PerUser: bound})
	var held, granted, worst atomic.Int64
	var wait sync.WaitGroup
	for i := range askers {
		p := desk.NewProbe(t, d.System)
		wait.Go(func() {
			claims := []messages.Claim{desk.AddressClaim("192.0.2.1"), desk.UserClaim(fmt.Sprint("user-", i%2))}
			for range rounds {
				p.Root.RequestWithCustomSender(d.Limits, &messages.Acquire{Holder: p.PID, Claims: claims}, p.PID)
				for answered := false; !answered; {
					switch m := (<-p.Got).(type) {
					case *actor.Watch:
					case *messages.Refused:
						answered = true
					case *messages.Granted:
						answered = true
						granted.Add(1)
						if n := held.Add(1); n > bound {
							worst.Store(n)
						}
						// Counted down first: from the sending of the release on
						// the slot may be another's.
						held.Add(-1)
						p.Root.Send(d.Limits, &messages.Release{Holder: p.PID, Claims: claims})
					default:
						panic(fmt.Sprintf("unexpected %T", m))
					}
				}
			}
		})
	}
	wait.Wait()
	if n := worst.Load(); n > 0 {
		t.Errorf("%d sessions at once, the limit is %d", n, bound)
	}
	if granted.Load() < bound {
		t.Errorf("only %d claims were granted", granted.Load())
	}
	// All senders' releases stand before this in the queue.
	h := d.Holder()
	for range bound {
		d.WantAcquire("", h, desk.AddressClaim("192.0.2.1"))
	}
	d.WantAcquire(messages.ReasonAddressLimit, h, desk.AddressClaim("192.0.2.1"))
}
