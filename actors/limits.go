package actors

import (
	"log/slog"
	"net/netip"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// Bounds are the limits that the limits actor keeps. 0 means no limit.
type Bounds struct {
	PerAddress int // sessions, and name look-ups under way, of one source address
	PerUser    int // sessions of one user
	HTTP       int // HTTP requests under way to tunnels, of one source address
	Raw        int // raw connections of all tunnels
}

// SpawnLimits starts the actor that counts for all others who has how many
// sessions. A failure loses one request, and no slot. workers may be nil.
func SpawnLimits(system *actor.ActorSystem, bounds Bounds, workers *Workers, log *slog.Logger) (*actor.PID, error) {
	book := newLedger([messages.ClaimKinds]int{
		messages.ClaimAddress: bounds.PerAddress,
		messages.ClaimUser:    bounds.PerUser,
		messages.ClaimLookup:  bounds.PerAddress,
		messages.ClaimHTTP:    bounds.HTTP,
		messages.ClaimRaw:     bounds.Raw,
	})
	return spawnLimits(system, book, workers, log)
}

func spawnLimits(system *actor.ActorSystem, book *ledger, workers *Workers, log *slog.Logger) (*actor.PID, error) {
	props := guardedProps(log, func() actor.Actor { return &limits{book: book} },
		actor.WithGuardian(resume), workers.option())
	return system.Root.SpawnNamed(props, "limits")
}

// limits grants claims and takes them back. Slots belong to PIDs: when a
// holder ends, for whatever reason, its slots are free again.
type limits struct {
	book *ledger // outlives this incarnation
}

func (a *limits) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.Acquire:
		a.acquire(ctx, m)
	case *messages.Release:
		a.book.release(m.Holder.Id, m.Claims)
	case *actor.Terminated:
		a.book.end(m.Who.Id)
	}
}

func (a *limits) acquire(ctx actor.Context, m *messages.Acquire) {
	// Whatever goes wrong, whoever asked is not left waiting.
	answer := any(&messages.Refused{Reason: messages.ReasonInternal, Tag: m.Tag})
	to := m.Holder
	if ctx.Sender() != nil {
		to = ctx.Sender()
	}
	defer func() { ctx.Send(to, answer) }()

	if reason := a.book.judge(m.Claims); reason != "" {
		answer = &messages.Refused{Reason: reason, Tag: m.Tag}
		return
	}
	if a.book.grant(m.Holder.Id, m.Claims) {
		ctx.Watch(m.Holder) // a holder that has ended already comes back at once
	}
	answer = &messages.Granted{Claims: m.Claims, Tag: m.Tag}
}

// sessionClaims returns what a session or tunnel takes of the limits.
func sessionClaims(source netip.Prefix, user string) []messages.Claim {
	claims := []messages.Claim{{Kind: messages.ClaimAddress, Source: source}}
	if user != "" {
		claims = append(claims, messages.Claim{Kind: messages.ClaimUser, User: user})
	}
	return claims
}

// userName returns how logs call a user.
func userName(user string) string {
	if user == "" {
		return "anonymous"
	}
	return user
}
