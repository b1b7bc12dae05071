package actors

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

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

// endWaiting asks the limits to refuse those that have waited for long enough.
type endWaiting struct{}

func (a *limits) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.Acquire:
		a.acquire(ctx, m)
	case *messages.Release:
		a.book.release(m.Holder.Id, m.Claims)
		a.admit(ctx, m.Claims)
	case *messages.Withdraw:
		if w := a.book.queue.of[m.Holder.Id][m.Tag]; w != nil {
			a.book.queue.remove(w)
		}
	case *actor.Terminated:
		a.book.forsake(m.Who.Id)
		a.admit(ctx, a.book.end(m.Who.Id))
	case *endWaiting:
		a.book.queue.timed = false
		defer a.schedule(ctx) // whatever goes wrong, those that are left have their timer
		a.endWaiting(ctx)
	}
}

func (a *limits) acquire(ctx actor.Context, m *messages.Acquire) {
	// Whatever goes wrong, whoever asked is not left waiting.
	answer := any(&messages.Refused{Reason: messages.ReasonInternal, Tag: m.Tag})
	to := m.Holder
	if ctx.Sender() != nil {
		to = ctx.Sender()
	}
	defer func() {
		if answer != nil {
			ctx.Send(to, answer)
		}
	}()

	reason := a.book.judge(m.Claims)
	known := a.book.knows(m.Holder.Id)
	switch {
	case reason == "":
		a.book.grant(m.Holder.Id, m.Claims)
		answer = &messages.Granted{Claims: m.Claims, Tag: m.Tag}
	case a.book.mayWait(m.Holder.Id, m.Tag, m.Claims):
		a.book.queue.add(&waiting{
			holder: m.Holder, to: to, claims: slices.Clone(m.Claims), tag: m.Tag, until: time.Now().Add(waitPatience),
		})
		answer = nil
		a.schedule(ctx)
	default:
		answer = &messages.Refused{Reason: reason, Tag: m.Tag}
		return
	}
	if !known {
		ctx.Watch(m.Holder) // a holder that has ended already comes back at once
	}
}

// admit gives what has come back to those that wait for it.
func (a *limits) admit(ctx actor.Context, freed []messages.Claim) {
	for _, w := range slices.Backward(a.book.admit(freed)) {
		// Deferred, so that one that can't be told keeps no other from its word.
		defer ctx.Send(w.to, &messages.Granted{Claims: w.claims, Tag: w.tag})
	}
}

// schedule sees to it that the one that has waited longest is looked at when
// its time is over. All have the same patience: so one timer does for all.
func (a *limits) schedule(ctx actor.Context) {
	q := a.book.queue
	w := q.first()
	if w == nil || q.timed {
		return
	}
	q.timed = true
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(time.Until(w.until), func() { root.Send(self, &endWaiting{}) })
}

// endWaiting refuses those that have waited for long enough. The timer may be
// that of one who waits no longer: then there are none.
func (a *limits) endWaiting(ctx actor.Context) {
	q := a.book.queue
	for w := q.first(); w != nil && !time.Now().Before(w.until); w = q.first() {
		q.remove(w)
		ctx.Send(w.to, &messages.Refused{Reason: refusals[w.claims[0].Kind], Tag: w.tag})
	}
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
