package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"
)

// NewSystem returns an actor system whose own log lines go to log. A process
// needs one.
func NewSystem(log *slog.Logger) *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(libraryHandler{log.Handler()})
	}))
}

// OnFailure has failed called for each actor that panics, with what it is: the name of its
// type, such as "relay". It is called by many goroutines, and returns at once. To be set
// before the first actor is started.
func OnFailure(system *actor.ActorSystem, failed func(kind string)) {
	system.Extensions.Register(failures(failed))
}

var failuresID = extensions.NextExtensionID()

type failures func(kind string)

func (failures) ExtensionID() extensions.ExtensionID { return failuresID }

// A libraryHandler takes what the actor library logs. Values are logged by
// their type only, because a message may hold what must not be logged; and
// dead letters, which are a normal sight when a session ends, are for
// debugging.
type libraryHandler struct {
	next slog.Handler
}

func (h libraryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	level := r.Level
	if level == slog.LevelInfo || strings.HasPrefix(r.Message, "[DeadLetter]") {
		level = slog.LevelDebug
	}
	if !h.next.Enabled(ctx, level) {
		return nil
	}
	clean := slog.NewRecord(r.Time, level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(byType(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = byType(a)
	}
	return libraryHandler{h.next.WithAttrs(clean)}
}

func (h libraryHandler) WithGroup(name string) slog.Handler {
	return libraryHandler{h.next.WithGroup(name)}
}

func byType(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindAny, slog.KindLogValuer:
	case slog.KindGroup:
		var members []slog.Attr
		for _, member := range a.Value.Group() {
			members = append(members, byType(member))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(members...)}
	default:
		return a
	}
	if pid, ok := a.Value.Any().(*actor.PID); ok && pid != nil {
		return slog.String(a.Key, pid.Id)
	}
	return slog.String(a.Key, fmt.Sprintf("%T", a.Value.Any()))
}

// Guarded returns props of an actor whose panics are seen: the library
// logs no stack. A panic while the actor stops goes no further, because the
// library would restart the actor, or leave its parent waiting for ever.
func Guarded(log *slog.Logger, producer actor.Producer, options ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &guard{producer(), log} }, options...)
}

// A guard stands around an actor. It is no middleware of the library's, which
// would cost an allocation for each message.
type guard struct {
	actor actor.Actor
	log   *slog.Logger
}

func (g *guard) Receive(ctx actor.Context) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if failed, ok := ctx.ActorSystem().Extensions.Get(failuresID).(failures); ok {
			name := fmt.Sprintf("%T", g.actor)
			failed(name[strings.LastIndexByte(name, '.')+1:])
		}
		g.log.Error("an actor failed", "actor", ctx.Self().Id,
			"message", fmt.Sprintf("%T", ctx.Message()), "fault", fault, "stack", string(debug.Stack()))
		switch ctx.Message().(type) {
		case *actor.Stopping, *actor.Stopped:
		default:
			panic(fault)
		}
	}()
	g.actor.Receive(ctx)
}

// Strategies are made once: the library keeps a guardian for each for ever.
var (
	// Resume keeps an actor with what it holds: one message is lost, no state
	// and no child. For actors that change their state in one last step.
	Resume = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.ResumeDirective })
	// Stop ends an actor that failed. For those that hold half a byte stream,
	// which nobody can take up again.
	Stop = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
)
