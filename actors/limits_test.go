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
	"wsproxy/messages"
)

func addressClaim(addr string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimAddress, Source: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

func userClaim(user string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimUser, User: user}
}

func lookupClaim(addr string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimLookup, Source: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

// A desk is a limits actor and whoever asks it.
type desk struct {
	*probe
	system *actor.ActorSystem
	limits *actor.PID
}

func newDesk(t testing.TB, bounds Bounds) *desk {
	t.Helper()
	system := newSystem(t, slog.New(slog.DiscardHandler))
	limits, err := limits.Spawn(system, limits.NewBook(bounds), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &desk{newProbe(t, system), system, limits}
}

// acquire returns why the claims were refused, or "".
func (d *desk) acquire(holder *actor.PID, claims ...messages.Claim) messages.Reason {
	d.t.Helper()
	switch m := d.ask(d.limits, &messages.Acquire{Holder: holder, Claims: claims}).(type) {
	case *messages.Granted:
		return ""
	case *messages.Refused:
		if m.Reason == "" {
			d.t.Fatal("refused without a reason")
		}
		return m.Reason
	default:
		d.t.Fatalf("the answer is a %T", m)
		return ""
	}
}

func (d *desk) wantAcquire(want messages.Reason, holder *actor.PID, claims ...messages.Claim) {
	d.t.Helper()
	if got := d.acquire(holder, claims...); got != want {
		d.t.Fatalf("%v for %s: answer %q, want %q", claims, holder.Id, got, want)
	}
}

func (d *desk) release(holder *actor.PID, claims ...messages.Claim) {
	d.root.Send(d.limits, &messages.Release{Holder: holder, Claims: claims})
}

// holder starts an actor that does nothing but hold.
func (d *desk) holder() *actor.PID {
	return d.root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
}

func TestLimitsBoundEachKindByItself(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 2, PerUser: 1})
	h := d.holder()
	d.wantAcquire("", h, addressClaim("192.0.2.1"))
	d.wantAcquire("", h, addressClaim("192.0.2.1"))
	d.wantAcquire(messages.ReasonAddressLimit, h, addressClaim("192.0.2.1"))
	d.wantAcquire("", h, addressClaim("192.0.2.2")) // somebody else's
	d.wantAcquire("", h, userClaim("ann"))
	d.wantAcquire(messages.ReasonUserLimit, h, userClaim("ann"))
	d.wantAcquire("", h, userClaim("bob"))
	d.wantAcquire("", h, lookupClaim("192.0.2.1")) // sessions and look-ups don't count together
	d.wantAcquire("", h, lookupClaim("192.0.2.1"))
	d.wantAcquire(messages.ReasonLookupLimit, h, lookupClaim("192.0.2.1"))
}

func TestLimitsGrantAllOrNothing(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1, PerUser: 1})
	h := d.holder()
	d.wantAcquire("", h, userClaim("ann"))
	d.wantAcquire(messages.ReasonUserLimit, h, addressClaim("192.0.2.1"), userClaim("ann"))
	d.wantAcquire("", h, addressClaim("192.0.2.1")) // the refusal has not used it up
	d.wantAcquire(messages.ReasonAddressLimit, h, addressClaim("192.0.2.2"), addressClaim("192.0.2.2"))
	d.wantAcquire("", h, addressClaim("192.0.2.2")) // one of the two would have fitted
}

func TestLimitOfZeroIsNoLimit(t *testing.T) {
	d := newDesk(t, Bounds{})
	h := d.holder()
	for range 200 {
		d.wantAcquire("", h, addressClaim("192.0.2.1"), userClaim("ann"), lookupClaim("192.0.2.1"))
	}
}

func TestReleasedSlotIsFree(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.holder(), d.holder()
	d.wantAcquire("", one, addressClaim("192.0.2.1"))
	d.wantAcquire(messages.ReasonAddressLimit, two, addressClaim("192.0.2.1"))
	d.release(one, addressClaim("192.0.2.1"))
	d.wantAcquire("", two, addressClaim("192.0.2.1"))
}

func TestReleaseOfWhatIsNotHeldFreesNothing(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.holder(), d.holder()
	d.wantAcquire("", one, addressClaim("192.0.2.1"))
	d.release(two, addressClaim("192.0.2.1")) // another's
	d.release(one, addressClaim("192.0.2.2")) // another claim
	d.release(one, messages.Claim{Kind: 99})  // no kind at all
	d.wantAcquire(messages.ReasonAddressLimit, two, addressClaim("192.0.2.1"))
	d.release(one, addressClaim("192.0.2.1"))
	d.release(one, addressClaim("192.0.2.1")) // a second time
	d.wantAcquire("", two, addressClaim("192.0.2.1"))
	d.wantAcquire(messages.ReasonAddressLimit, one, addressClaim("192.0.2.1"))
}

func TestSlotComesBackWhenItsHolderEnds(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1, PerUser: 1})
	one, two := d.holder(), d.holder()
	d.wantAcquire("", one, addressClaim("192.0.2.1"), userClaim("ann"))
	d.root.Stop(one)
	testkit.Eventually(t, "the slot of an ended holder is free", func() bool {
		return d.acquire(two, addressClaim("192.0.2.1"), userClaim("ann")) == ""
	})
}

// The holder's end may reach the registry before, while or after the limits
// handle its request.
func TestSlotComesBackWhenItsHolderEndsAroundTheGrant(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	for range 200 {
		h := d.holder()
		d.root.Stop(h)
		d.acquire(h, addressClaim("192.0.2.1"))
	}
	last := d.holder()
	testkit.Eventually(t, "no ended holder keeps the slot", func() bool {
		return d.acquire(last, addressClaim("192.0.2.1")) == ""
	})
}

func TestHolderThatNeverLivedKeepsNoSlot(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	d.acquire(actor.NewPID(d.pid.Address, "nobody"), addressClaim("192.0.2.1"))
	h := d.holder()
	testkit.Eventually(t, "the slot is free", func() bool { return d.acquire(h, addressClaim("192.0.2.1")) == "" })
}

// A holder that has given everything back and asks again must be watched still,
// or again.
func TestHolderIsWatchedAfterItsFirstRelease(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	one, two := d.holder(), d.holder()
	d.wantAcquire("", one, lookupClaim("192.0.2.1"))
	d.release(one, lookupClaim("192.0.2.1"))
	d.wantAcquire("", one, addressClaim("192.0.2.1"))
	d.root.Stop(one)
	testkit.Eventually(t, "the slot is free", func() bool { return d.acquire(two, addressClaim("192.0.2.1")) == "" })
}

func TestPanicInLimitsLosesNoSlotAndIsAnswered(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 2})
	h := d.holder()
	d.wantAcquire("", h, addressClaim("192.0.2.1"))
	faults := map[string]*messages.Acquire{
		"no such kind":                {Holder: h, Claims: []messages.Claim{{Kind: 99}}},
		"no such kind after good one": {Holder: h, Claims: []messages.Claim{addressClaim("192.0.2.1"), {Kind: 99}}},
		"no holder":                   {Claims: []messages.Claim{addressClaim("192.0.2.1")}},
	}
	for name, fault := range faults {
		refused, ok := d.ask(d.limits, fault).(*messages.Refused)
		if !ok || refused.Reason != messages.ReasonInternal {
			t.Fatalf("%s: the answer is %#v", name, refused)
		}
	}
	d.root.Send(d.limits, &messages.Release{Claims: []messages.Claim{addressClaim("192.0.2.1")}}) // panics too
	d.wantAcquire("", h, addressClaim("192.0.2.1"))                                               // one of two was left, and is
	d.wantAcquire(messages.ReasonAddressLimit, h, addressClaim("192.0.2.1"))
	d.root.Stop(h) // it is watched still
	other := d.holder()
	testkit.Eventually(t, "both slots are free", func() bool {
		return d.acquire(other, addressClaim("192.0.2.1"), addressClaim("192.0.2.1")) == ""
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
		p := newProbe(t, d.system)
		wait.Go(func() {
			claims := []messages.Claim{addressClaim("192.0.2.1"), userClaim(fmt.Sprint("user-", i%2))}
			for range rounds {
				p.root.RequestWithCustomSender(d.limits, &messages.Acquire{Holder: p.pid, Claims: claims}, p.pid)
				for answered := false; !answered; {
					switch m := (<-p.got).(type) {
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
						p.root.Send(d.limits, &messages.Release{Holder: p.pid, Claims: claims})
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
	h := d.holder()
	for range bound {
		d.wantAcquire("", h, addressClaim("192.0.2.1"))
	}
	d.wantAcquire(messages.ReasonAddressLimit, h, addressClaim("192.0.2.1"))
}
