package limits

import (
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// A Book is what outlives an incarnation of the limits. It belongs to them.
type Book struct {
	*ledger.Ledger
	// Watch, if not nil, is told how many wait for their turn when that has changed.
	// It returns at once.
	Watch func(waiting int)

	timed bool // a timer for the one that has waited longest runs
	told  int  // what Watch was told
}

// NewBook returns a book without entries.
func NewBook(bounds ledger.Bounds) *Book { return &Book{Ledger: ledger.New(bounds.Units())} }

// Spawn starts the actor that counts for all others who has how many sessions. A
// failure loses one request, and no slot. workers may be nil.
func Spawn(system *actor.ActorSystem, book *Book, workers *supervise.Workers, log *slog.Logger) (*actor.PID, error) {
	props := supervise.Guarded(log, func() actor.Actor { return &limits{book: book} },
		actor.WithGuardian(supervise.Resume), workers.DirectOption())
	return system.Root.SpawnNamed(props, "limits")
}

// limits grants claims and takes them back. Slots belong to PIDs: when a
// holder ends, for whatever reason, its slots are free again.
type limits struct {
	book *Book // outlives this incarnation
}

// Rebound has the limits count against other bounds from now on. What is held beyond
// a lower one stays held.
type Rebound struct{ Bounds ledger.Bounds }

// endWaiting asks the limits to refuse those that have waited for long enough.
type endWaiting struct{}

func (a *limits) Receive(ctx actor.Context) {
	if a.book.Watch != nil {
		defer a.watched()
	}
	switch m := ctx.Message().(type) {
	case *messages.Acquire:
		a.acquire(ctx, m)
	case *messages.Release:
		a.book.Release(m.Holder.Id, m.Claims)
		a.admit(ctx, m.Claims)
	case *messages.Detached:
		if m.Away {
			a.book.Detach(m.Holder)
		} else {
			a.book.Attach(m.Holder.Id)
		}
	case *messages.Withdraw:
		a.book.Withdraw(m.Holder.Id, m.Tag)
	case *actor.Terminated:
		a.ended(ctx, m.Who)
	case *messages.HolderEnded:
		a.ended(ctx, m.Holder)
	case *Rebound:
		a.tell(ctx, a.book.Rebound(m.Bounds.Units()))
	case *endWaiting:
		a.book.timed = false
		defer a.schedule(ctx) // whatever goes wrong, those that are left have their timer
		a.endWaiting(ctx)
	}
}

// ended takes back what a holder had.
func (a *limits) ended(ctx actor.Context, holder *actor.PID) {
	a.book.Forsake(holder.Id)
	a.admit(ctx, a.book.End(holder.Id))
}

func (a *limits) watched() {
	if n := a.book.Waiting(); n != a.book.told {
		a.book.told = n
		a.book.Watch(n)
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

	claim, exceeded := a.book.Exceeded(m.Claims)
	known := a.book.Knows(m.Holder.Id)
	if exceeded && m.New {
		exceeded = !a.makeRoom(ctx, m.Claims, claim)
	}
	switch {
	case !exceeded:
		a.book.Grant(m.Holder.Id, m.Claims)
		answer = &messages.Granted{Claims: m.Claims, Tag: m.Tag}
	case a.book.MayWait(m.Holder.Id, m.Tag, m.Claims):
		a.book.Wait(&ledger.Waiting{
			Holder: m.Holder, To: to, Claims: slices.Clone(m.Claims), Tag: m.Tag, Until: time.Now().Add(ledger.Patience),
		})
		answer = nil
		a.schedule(ctx)
	default:
		answer = &messages.Refused{Reason: ledger.Refusal(claim), Claim: claim, Tag: m.Tag}
		return
	}
	if !known && !m.Kept {
		ctx.Watch(m.Holder) // a holder that has ended already comes back at once
	}
}

// makeRoom has a detached session give its slots to a new one of the same user, and
// reports whether there was one. It is told first: should all else fail, it ends, and
// what it had comes back.
func (a *limits) makeRoom(ctx actor.Context, claims []messages.Claim, exceeded messages.Claim) bool {
	yielding := a.book.Yielding(claims, exceeded)
	if yielding == nil {
		return false
	}
	ctx.Send(yielding, &messages.YieldSlot{})
	a.book.End(yielding.Id)
	return true
}

// admit gives what has come back to those that wait for it.
func (a *limits) admit(ctx actor.Context, freed []messages.Claim) {
	a.tell(ctx, a.book.Admit(freed))
}

// tell answers those that have waited, and have what they waited for.
func (a *limits) tell(ctx actor.Context, admitted []*ledger.Waiting) {
	for _, w := range slices.Backward(admitted) {
		// Deferred, so that one that can't be told keeps no other from its word.
		defer ctx.Send(w.To, &messages.Granted{Claims: w.Claims, Tag: w.Tag, Waited: true})
	}
}

// schedule sees to it that the one that has waited longest is looked at when
// its time is over. All have the same patience: so one timer does for all.
func (a *limits) schedule(ctx actor.Context) {
	w := a.book.First()
	if w == nil || a.book.timed {
		return
	}
	a.book.timed = true
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(time.Until(w.Until), func() { root.Send(self, &endWaiting{}) })
}

// endWaiting refuses those that have waited for long enough. The timer may be
// that of one who waits no longer: then there are none.
func (a *limits) endWaiting(ctx actor.Context) {
	for w := a.book.First(); w != nil && !time.Now().Before(w.Until); w = a.book.First() {
		ctx.Send(w.To, &messages.Refused{Reason: a.book.Expire(w), Tag: w.Tag})
	}
}
