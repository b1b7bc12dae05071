package actors

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// network returns the nth /64 of a /48.
func network(n int) string { return fmt.Sprintf("2001:db8:7:%x::/64", n) }

// An IPv6 site has thousands of /64s. Its /48 has four times the bound of one,
// for each limit that is kept by address.
func TestIPv6IsCountedByItsSiteToo(t *testing.T) {
	for kind, reason := range map[messages.ClaimKind]messages.Reason{
		messages.ClaimAddress: messages.ReasonAddressLimit,
		messages.ClaimLookup:  messages.ReasonLookupLimit,
	} {
		d := newDesk(t, Bounds{PerAddress: 3})
		h := d.Holder()
		claim := func(source string) messages.Claim {
			return messages.Claim{Kind: kind, Source: netip.MustParsePrefix(source)}
		}
		for range 3 {
			d.WantAcquire("", h, claim(network(0)))
		}
		d.WantAcquire(reason, h, claim(network(0)))
		for n := 1; n <= 9; n++ {
			d.WantAcquire("", h, claim(network(n)))
		}
		d.WantAcquire(reason, h, claim(network(10)))
		d.WantAcquire("", h, claim("2001:db8:8::/64")) // the site beside it
		d.WantAcquire("", h, claim("192.0.2.1/32"))
		d.Release(h, claim(network(0)))
		d.WantAcquire(reason, h, claim(network(10)), claim(network(11))) // one of the two would fit
		d.WantAcquire("", h, claim(network(10)))
		d.WantAcquire(reason, h, claim(network(0)))
		d.Root.Stop(h)
		other := d.Holder()
		all := make([]messages.Claim, 12)
		for n := range all {
			all[n] = claim(network(n))
		}
		testkit.Eventually(t, "all that an ended holder had is free", func() bool { return d.Acquire(other, all...) == "" })
	}
}

// IPv4 addresses are no part of each other's networks.
func TestIPv4IsCountedByItself(t *testing.T) {
	d := newDesk(t, Bounds{PerAddress: 1})
	h := d.Holder()
	for n := range 50 {
		d.WantAcquire("", h, desk.AddressClaim(fmt.Sprintf("192.0.2.%d", n)))
	}
}

// A slot of the site goes to whoever has waited longest of those whose own /64
// has room.
func TestIPv6RequestsWaitForTheirSiteToo(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 2}}, func(r *tunnelRig) {
		a := r.asker()
		for n := range 4 {
			a.asks(network(n), fmt.Sprint(n, "a"), fmt.Sprint(n, "b"))
		}
		a.want("0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b")
		a.asks(network(0), "0c")
		a.asks(network(4), "4a", "4b", "4c")
		a.asks(network(1), "1c")
		a.asks(network(5), "5a")
		a.want()
		a.releases(network(3)) // of those whose own is used up nobody is held up, nor lets others go
		a.want("4a")
		a.releases(network(1))
		a.want("4b")
		a.releases(network(0))
		a.want("0c")
		a.releases(network(1)) // 1c has waited longer than 5a
		a.want("1c")
		a.releases(network(3))
		a.want("5a") // 4c waits for its own
		a.releases(network(5))
		a.want()
		a.releases(network(4))
		a.want("4c")
		r.wantWaiting(0)
		r.wantTaken(0, 7, 0)
	})
}

// The site has four times the places in the queue, too.
func TestIPv6SiteHasABoundedQueue(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		a := r.asker()
		for n := range 4 {
			a.asks(network(n), "has")
		}
		a.want("has", "has", "has", "has")
		a.asks(network(0), numbers(1, 4)...)
		a.asks(network(0), "one too many")
		a.want("-one too many")
		for n := range 12 {
			a.asks(network(100+n), fmt.Sprint("w", n))
		}
		a.want()
		a.asks(network(200), "late")
		a.want("-late")
		time.Sleep(protocolTurn)
		r.settle()
		if n := len(a.all()); n != 16 {
			t.Errorf("%d were refused after their time", n)
		}
		r.wantWaiting(0)
	})
}
