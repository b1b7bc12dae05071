package desk

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/limits"
	"wsproxy/messages"
)

// AddressClaim is a claim for a session of an IPv4 address.
func AddressClaim(addr string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimAddress, Source: netip.PrefixFrom(netip.MustParseAddr(addr), 32)}
}

// UserClaim is a claim for a session of a user.
func UserClaim(user string) messages.Claim {
	return messages.Claim{Kind: messages.ClaimUser, User: user}
}

// A Desk is a limits actor and whoever asks it.
type Desk struct {
	*Probe
	System *actor.ActorSystem
	Limits *actor.PID
}

// New returns the desk of a limits actor that is spawned in a system.
func New(t testing.TB, system *actor.ActorSystem, book *limits.Book, log *slog.Logger) *Desk {
	t.Helper()
	pid, err := limits.Spawn(system, book, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	return &Desk{NewProbe(t, system), system, pid}
}

// Acquire returns why the claims were refused, or "".
func (d *Desk) Acquire(holder *actor.PID, claims ...messages.Claim) messages.Reason {
	d.T.Helper()
	switch m := d.Ask(d.Limits, &messages.Acquire{Holder: holder, Claims: claims}).(type) {
	case *messages.Granted:
		return ""
	case *messages.Refused:
		if m.Reason == "" {
			d.T.Fatal("refused without a reason")
		}
		return m.Reason
	default:
		d.T.Fatalf("the answer is a %T", m)
		return ""
	}
}

// WantAcquire fails unless the claims are refused for a reason; "" is granted.
func (d *Desk) WantAcquire(want messages.Reason, holder *actor.PID, claims ...messages.Claim) {
	d.T.Helper()
	if got := d.Acquire(holder, claims...); got != want {
		d.T.Fatalf("%v for %s: answer %q, want %q", claims, holder.Id, got, want)
	}
}

// Release gives claims back.
func (d *Desk) Release(holder *actor.PID, claims ...messages.Claim) {
	d.Root.Send(d.Limits, &messages.Release{Holder: holder, Claims: claims})
}

// Holder starts an actor that does nothing but hold.
func (d *Desk) Holder() *actor.PID {
	return d.Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
}
