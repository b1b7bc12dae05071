package actors

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/limits"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

func httpClaim(source string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix(source)}
}

const (
	v4    = "192.0.2.1/32"
	other = "192.0.2.2/32"
)

// An asker is a holder of requests' slots: an actor that can end. Its answers
// go to a probe.
type asker struct {
	*rigProbe
	r      *tunnelRig
	holder *actor.PID
}

func (r *tunnelRig) asker() *asker {
	return &asker{r.probe(), r, r.root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))}
}

// asks asks for a slot under each of the tags.
func (a *asker) asks(source string, tags ...string) {
	a.t.Helper()
	for _, tag := range tags {
		a.r.root.RequestWithCustomSender(a.r.limits, &messages.Acquire{
			Holder: a.holder, Claims: []messages.Claim{httpClaim(source)}, Tag: tag,
		}, a.pid)
	}
	a.r.settle()
}

func (a *asker) releases(source string) {
	a.r.send(a.r.limits, &messages.Release{Holder: a.holder, Claims: []messages.Claim{httpClaim(source)}})
}

func (a *asker) withdraws(tag string) {
	a.r.send(a.r.limits, &messages.Withdraw{Holder: a.holder, Tag: tag})
}

func (a *asker) ends() {
	a.r.root.Stop(a.holder)
	a.r.settle()
}

// want fails unless these are the answers since the last look: a tag that was
// granted something, or one behind a "-" that was refused.
func (a *asker) want(answers ...string) {
	a.t.Helper()
	var got []string
	for _, m := range a.all() {
		switch m := m.(type) {
		case *messages.Granted:
			if len(m.Claims) != 1 || m.Claims[0].Kind != messages.ClaimHTTP {
				a.t.Errorf("granted to %s is %v", m.Tag, m.Claims)
			}
			got = append(got, m.Tag)
		case *messages.Refused:
			if m.Reason != messages.ReasonHTTPLimit {
				a.t.Errorf("%s is refused for %q", m.Tag, m.Reason)
			}
			got = append(got, "-"+m.Tag)
		}
	}
	if !slices.Equal(got, answers) {
		a.t.Errorf("the answers are %q, want %q", got, answers)
	}
}

// wantWaiting fails unless so many claims wait for their turn.
func (r *tunnelRig) wantWaiting(n int) {
	r.t.Helper()
	if got := r.book.Waiting(); got != n {
		r.t.Errorf("%d claims wait, want %d", got, n)
	}
	if got := r.waiting.Load(); got != int64(n) {
		r.t.Errorf("%d claims are said to wait, want %d", got, n)
	}
}

func numbers(from, to int) (tags []string) {
	for i := from; i <= to; i++ {
		tags = append(tags, fmt.Sprint(i))
	}
	return tags
}

func TestRequestsAreGrantedInOrderOfArrival(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 2}}, func(r *tunnelRig) {
		a := r.asker()
		a.asks(v4, numbers(1, 10)...)
		a.want("1", "2")
		a.asks(v4, "11", "12") // more than four times as many as are under way
		a.want("-11", "-12")
		a.asks(other, "o") // somebody else's
		a.want("o")
		for i := 3; i <= 5; i++ {
			a.releases(v4)
			a.want(fmt.Sprint(i))
		}
		a.asks(v4, "13", "14", "15", "16") // there is room again for three
		a.want("-16")
		for range 20 {
			a.releases(v4)
		}
		a.want("6", "7", "8", "9", "10", "13", "14", "15")
		r.wantWaiting(0)
		r.wantTaken(0, 1, 0) // what was given back without being held freed nothing
	})
}

// The wait has an end for each by itself: five seconds after it came.
func TestRequestWaitsForFiveSeconds(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 2}}, func(r *tunnelRig) {
		a := r.asker()
		a.asks(v4, "1", "2", "3")
		time.Sleep(2 * time.Second)
		a.asks(v4, "4", "5")
		a.want("1", "2")
		time.Sleep(protocolTurn - 2*time.Second - 1)
		r.settle()
		a.want()
		time.Sleep(time.Nanosecond)
		r.settle()
		a.want("-3")
		time.Sleep(2*time.Second - 1)
		a.releases(v4) // in the last moment
		a.want("4")
		time.Sleep(time.Nanosecond)
		r.settle()
		a.want("-5")
		a.asks(v4, "6") // the timer runs anew after there was nobody
		time.Sleep(protocolTurn - 1)
		r.settle()
		a.want()
		time.Sleep(time.Nanosecond)
		r.settle()
		a.want("-6")
		r.wantWaiting(0)
	})
}

func TestWithdrawnRequestLeavesItsPlace(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		a, b := r.asker(), r.asker()
		a.asks(v4, "1", "2", "3", "4", "5")
		b.withdraws("2") // another's
		a.withdraws("1") // has its slot already
		a.withdraws("nobody")
		r.wantWaiting(4)
		a.withdraws("2")
		b.asks(v4, "6", "7") // in the place of that, and one too many
		b.want("-7")
		a.releases(v4)
		a.want("1", "3")
		a.withdraws("4")
		a.withdraws("5")
		a.releases(v4)
		b.want("6")
		a.want()
		r.wantWaiting(0)
		time.Sleep(2 * protocolTurn) // the timer of those finds nobody
		r.settle()
		a.want()
		b.want()
	})
}

// A timer that was set for one who has left is no one else's.
func TestTimerOfAWithdrawnRequestRefusesNobody(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		a := r.asker()
		a.asks(v4, "1", "2")
		time.Sleep(3 * time.Second)
		a.asks(v4, "3")
		a.withdraws("2")
		time.Sleep(protocolTurn - 1)
		r.settle()
		a.want("1")
		time.Sleep(time.Nanosecond)
		r.settle()
		a.want("-3")
	})
}

// What an ended holder has goes to those that wait; what it waits for goes to
// nobody.
func TestHolderThatEndsLetsOthersGo(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 3}}, func(r *tunnelRig) {
		a, b := r.asker(), r.asker()
		a.asks(v4, "1", "2")
		b.asks(v4, "3")
		a.asks(v4, "4", "5")
		b.asks(v4, "6", "7", "8")
		a.asks(v4, "9")
		a.ends()
		a.want("1", "2")
		b.want("3", "6", "7")
		r.wantWaiting(1)
		b.ends()
		r.wantFree()
	})
}

// A holder that has nothing yet but waits is watched as well, and one that has
// ended before leaves nothing.
func TestHolderThatOnlyWaitsIsWatched(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
		a, b, c := r.asker(), r.asker(), r.asker()
		a.asks(v4, "1")
		b.asks(v4, "2")
		c.ends()
		c.asks(v4, "3")
		r.wantWaiting(1)
		b.ends()
		r.wantWaiting(0)
		a.releases(v4)
		r.wantFree()
	})
}

// Only requests wait: who asks for a session or a look-up, or for more than one
// thing at once, is answered at once.
func TestOnlyRequestsWait(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerAddress: 1, PerUser: 1, HTTP: 1, Raw: 1}}, func(r *tunnelRig) {
		a := r.asker()
		for _, claims := range [][]messages.Claim{
			{desk.AddressClaim("192.0.2.1")}, {desk.UserClaim("ann")}, {lookupClaim("192.0.2.1")}, {{Kind: messages.ClaimRaw}},
			{httpClaim(v4), httpClaim(other)},
		} {
			for _, want := range []string{"*messages.Granted", "*messages.Refused"} {
				r.root.RequestWithCustomSender(r.limits, &messages.Acquire{Holder: a.holder, Claims: claims}, a.pid)
				r.settle()
				if got := a.all(); len(got) != 1 || fmt.Sprintf("%T", got[0]) != want {
					t.Errorf("%v: answered is %v, want a %s", claims, got, want)
				}
			}
		}
		a.asks(v4, "same", "same", "same") // the second of two under one tag could not be withdrawn
		a.want("-same", "-same")
		r.wantWaiting(1)
	})
}

func TestNobodyWaitsWithoutALimit(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		a := r.asker()
		a.asks(v4, numbers(1, 1000)...)
		a.want(numbers(1, 1000)...)
	})
}

// A muteProcess fails whoever sends it something.
type muteProcess struct{ rigProbe }

func (*muteProcess) SendUserMessage(*actor.PID, any) { panic("injected") }

// One that can't be told of its slot, or of its end, keeps nobody else from
// that.
func TestWaitingSurvivesAFailureOfTheLimits(t *testing.T) {
	for _, how := range []string{"granted", "refused"} {
		t.Run(how, func(t *testing.T) {
			inRig(t, rigOptions{bounds: Bounds{HTTP: 3}}, func(r *tunnelRig) {
				a, b, mute := r.asker(), r.asker(), r.asker()
				mute.pid, _ = r.system.ProcessRegistry.Add(&muteProcess{}, "mute")
				a.asks(v4, "1", "2", "3")
				b.asks(v4, "4")
				mute.asks(v4, "5")
				b.asks(v4, "6", "7")
				a.want("1", "2", "3")
				if how == "granted" {
					a.ends()
					b.want("4", "6")
					mute.ends()
					b.want("7")
				} else {
					time.Sleep(protocolTurn)
					r.settle()
					b.want("-4", "-6", "-7")
				}
				if n := len(r.log.of("an actor failed")); n != 1 {
					t.Errorf("%d failures", n)
				}
				a.ends()
				b.ends()
				r.wantFree()
			})
		})
	}
}

// Other bounds count from then on: what waits is granted what they allow, and what is
// held beyond them stays held.
func TestBoundsChange(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 1, PerUser: 1}}, func(r *tunnelRig) {
		a := r.asker()
		a.asks(v4, numbers(1, 4)...)
		a.want("1")
		r.send(r.limits, &limits.Rebound{Bounds: Bounds{HTTP: 3}})
		a.want("2", "3")
		r.wantWaiting(1)
		r.send(r.limits, &limits.Rebound{Bounds: Bounds{HTTP: 2}})
		a.want()
		r.wantTaken(0, 3, 0)
		a.releases(v4) // there are two still
		a.want()
		a.releases(v4)
		a.want("4")
		r.send(r.limits, &limits.Rebound{Bounds: Bounds{}})
		a.asks(v4, numbers(5, 100)...)
		a.want(numbers(5, 100)...)
		r.send(r.limits, &limits.Rebound{Bounds: Bounds{HTTP: 1}})
		a.asks(other, "o", "p")
		a.want("o")
		a.ends()
		r.wantTaken(0, 0, 0)
	})
}

// A tunnel keeps the bounds that it began with.
func TestTunnelBoundsChange(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 1}}, func(r *tunnelRig) {
		old := r.ready()
		r.send(r.tunnels, &Rebound{MaxConns: 2, MaxHTTP: 5})
		young := r.ready()
		for _, test := range []struct {
			v    *rigTunnel
			most int
		}{{old, 1}, {young, 2}} {
			for i := range test.most {
				test.v.accepts(fmt.Sprint("c", i))
			}
			test.v.turnedAway("one more", "reject")
		}
	})
}
