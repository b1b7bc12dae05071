package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// naiveSession is one session of a list that is gone through anew for each question.
type naiveSession struct {
	holder string
	source netip.Prefix
	user   string
	left   int // when it lost its WebSocket; 0 = it has one
}

// fits reports whether a session of a source and user has a slot beside others.
func fits(all []naiveSession, bounds Bounds, source netip.Prefix, user string) bool {
	same, site, users := 0, 0, 0
	network, isIPv6 := messages.Site(source)
	for _, s := range all {
		if s.source == source {
			same++
		}
		if isIPv6 && network.Contains(s.source.Addr()) {
			site++
		}
		if user != "" && s.user == user {
			users++
		}
	}
	return (bounds.PerAddress == 0 || same < bounds.PerAddress && site < 4*bounds.PerAddress) &&
		(bounds.PerUser == 0 || users < bounds.PerUser)
}

// givesWay returns who of a list gives way to a new session, or -1: it tries those
// of the same user one by one, those longest away first.
func givesWay(all []naiveSession, bounds Bounds, source netip.Prefix, user string) int {
	best := -1
	for i, s := range all {
		if s.left == 0 || s.user != user || user == "" && s.source != source || best >= 0 && all[best].left < s.left {
			continue
		}
		if fits(slices.Delete(slices.Clone(all), i, i+1), bounds, source, user) {
			best = i
		}
	}
	return best
}

// Who gives way is who a list that is gone through says, whatever sessions come, lose
// their WebSocket, get another and end; and one is always enough.
func TestWhoGivesWayAgreesWithANaiveList(t *testing.T) {
	sources := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")}
	for n := range 6 {
		sources = append(sources, netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::/64", n)))
	}
	yielded := 0
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		bounds := Bounds{PerAddress: random.IntN(4), PerUser: random.IntN(7)}
		users := []string{"ann", "bob"}
		if seed%3 == 0 {
			users = []string{""}
		}
		l := New(bounds.Units())
		var all []naiveSession
		for step := 1; step < 300; step++ {
			var one *naiveSession
			if len(all) > 0 {
				one = &all[random.IntN(len(all))]
			}
			switch op := random.IntN(8); {
			case op < 4 || one == nil:
				s := naiveSession{fmt.Sprint("session-", step), sources[random.IntN(len(sources))], users[random.IntN(len(users))], 0}
				claims := SessionClaims(s.source, s.user)
				exceeded, isFull := l.Exceeded(claims)
				if isFull == fits(all, bounds, s.source, s.user) {
					t.Fatalf("seed %d, step %d: that there is no slot is %v", seed, step, isFull)
				}
				if isFull {
					i, got := givesWay(all, bounds, s.source, s.user), l.Yielding(claims, exceeded)
					if i < 0 != (got == nil) || i >= 0 && all[i].holder != got.Id {
						t.Fatalf("seed %d, step %d: %v gives way to %v, want number %d of %v", seed, step, got, s, i, all)
					}
					if got == nil {
						continue
					}
					yielded++
					l.End(got.Id)
					all = slices.Delete(all, i, i+1)
				}
				if reason := l.Judge(claims); reason != "" {
					t.Fatalf("seed %d, step %d: after that it is refused for %s", seed, step, reason)
				}
				l.Grant(s.holder, claims)
				all = append(all, s)
			case op < 6:
				if l.Detach(&actor.PID{Id: one.holder}); one.left == 0 {
					one.left = step
				}
			case op == 6:
				l.Attach(one.holder)
				one.left = 0
			default:
				if random.IntN(2) == 0 {
					l.End(one.holder)
				} else {
					l.Release(one.holder, SessionClaims(one.source, one.user))
				}
				all = slices.DeleteFunc(all, func(s naiveSession) bool { return s == *one })
			}
			away := 0
			for _, s := range all {
				if s.left > 0 {
					away++
				}
			}
			if l.Detached() != away {
				t.Fatalf("seed %d, step %d: %d are detached, want %d", seed, step, l.Detached(), away)
			}
		}
		for _, s := range all {
			l.End(s.holder)
		}
		if !l.Empty() {
			t.Fatalf("seed %d: something is left when all have ended", seed)
		}
	}
	if yielded < 1000 {
		t.Errorf("only %d gave way", yielded)
	}
}

// What is no session, or has no slots, is never asked to give way: it would free
// nothing.
func TestOnlySessionsGiveWay(t *testing.T) {
	l := New(Bounds{PerAddress: 1, PerUser: 1, HTTP: 1}.Units())
	source := netip.MustParsePrefix("192.0.2.1/32")
	for name, claims := range map[string][]messages.Claim{
		"nothing":           nil,
		"a look-up":         {{Kind: messages.ClaimLookup, Source: source}},
		"requests":          {{Kind: messages.ClaimHTTP, Source: source}},
		"two of an address": {{Kind: messages.ClaimAddress, Source: source}, {Kind: messages.ClaimAddress, Source: source}},
	} {
		l.Grant(name, claims)
		l.Detach(&actor.PID{Id: name})
		l.Attach("nobody")
		if l.Detached() != 0 {
			t.Errorf("%s: noted as detached", name)
		}
		l.End(name)
	}
	claims := SessionClaims(source, "ann")
	l.Grant("session", claims)
	l.Detach(&actor.PID{Id: "session"})
	for name, newcomer := range map[string][]messages.Claim{
		"a look-up": {{Kind: messages.ClaimLookup, Source: source}},
		"requests":  {{Kind: messages.ClaimHTTP, Source: source}},
		"another":   SessionClaims(source, "bob"),
		"anyone":    SessionClaims(source, ""),
		"nothing":   nil,
	} {
		if pid := l.Yielding(newcomer, claims[0]); pid != nil {
			t.Errorf("%s: %s gives way", name, pid.Id)
		}
	}
	if exceeded, _ := l.Exceeded(claims); l.Yielding(claims, exceeded) == nil {
		t.Error("it doesn't give way to its user's own")
	}
}
