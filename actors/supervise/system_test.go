package supervise

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"wsproxy/internal/testkit"

	"github.com/asynkron/protoactor-go/actor"
)

// secret is a message of the kind that must not reach a log.
type secret struct{ Token string }

func (s secret) String() string { return s.Token }

// logValuer is one that would log itself.
type logValuer struct{ Token string }

func (v logValuer) LogValue() slog.Value { return slog.StringValue(v.Token) }

func jsonLog(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level})), &out
}

func TestLibraryLogsNoMessageByValue(t *testing.T) {
	log, out := jsonLog(slog.LevelDebug)
	library := slog.New(libraryHandler{log.Handler()})
	m := &secret{"hunter2"}
	library.Error("one", slog.Any("message", m), slog.Any("exception", errors.New("hunter2")))
	library.With(slog.Any("message", *m)).Error("two")
	library.WithGroup("g").Error("three", slog.Any("message", m))
	library.Error("four", slog.Group("g", slog.Any("message", m), slog.Group("h", slog.Any("message", m))))
	library.Error("five", slog.Any("message", logValuer{"hunter2"}), slog.Any("message", &logValuer{"hunter2"}))
	library.Error("six", slog.Any("pid", actor.NewPID("nonhost", "relay-1")), slog.Any("sender", (*actor.PID)(nil)))
	text := out.String()
	if strings.Contains(text, "hunter2") {
		t.Errorf("the log has a message's value:\n%s", text)
	}
	for _, want := range []string{"one", "two", "three", "four", "five", "six", "*supervise.secret", "*errors.errorString", `"pid":"relay-1"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
}

func TestDeadLettersAreForDebugging(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		log, out := jsonLog(level)
		system := newSystem(t, log)
		system.Root.Send(actor.NewPID("nonhost", "nobody"), &secret{"hunter2"})
		text := out.String()
		if strings.Contains(text, "hunter2") {
			t.Errorf("the log has a message's value:\n%s", text)
		}
		if got, want := strings.Contains(text, "[DeadLetter]"), level == slog.LevelDebug; got != want {
			t.Errorf("at level %v the dead letter is logged: %v", level, got)
		}
	}
}

func TestLibraryWarningsKeepTheirLevel(t *testing.T) {
	log, out := jsonLog(slog.LevelWarn)
	library := slog.New(libraryHandler{log.Handler()})
	library.Info("not seen")
	library.Warn("seen")
	if text := out.String(); !strings.Contains(text, `"level":"WARN","msg":"seen"`) || strings.Contains(text, "not seen") {
		t.Errorf("the log is:\n%s", text)
	}
}

// A panic is logged with its stack and its message's type, and never with the
// message.
func TestGuardLogsTheStackAndNotTheMessage(t *testing.T) {
	log, out := testkit.NewJournal()
	system := newSystem(t, log)
	failed := make(chan string, 10)
	OnFailure(system, func(kind string) { failed <- kind })
	pid := system.Root.Spawn(guardedFunc(log, func(ctx actor.Context) {
		if _, ok := ctx.Message().(*secret); ok {
			failsHere()
		}
	}, actor.WithGuardian(Resume)))
	system.Root.Send(pid, &secret{"hunter2"})
	testkit.Eventually(t, "the failure is logged", func() bool { return len(out.Of("an actor failed")) > 0 })
	if kind := <-failed; kind != "ReceiveFunc" || len(failed) > 0 {
		t.Errorf("told is the failure of %s, and %d more", kind, len(failed))
	}
	lines := out.Of("an actor failed")
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	fields := lines[0].Fields
	if fields["message"] != "*supervise.secret" || fields["actor"] != pid.Id || !strings.Contains(fields["stack"].(string), "failsHere") {
		t.Errorf("the fields are %v", fields)
	}
	for _, line := range out.All() {
		for key, value := range line.Fields {
			if s, ok := value.(string); ok && strings.Contains(s, "hunter2") {
				t.Errorf("%q has the message's value in %s", line.Message, key)
			}
		}
	}
}

func guardedFunc(log *slog.Logger, receive actor.ReceiveFunc, options ...actor.PropsOption) *actor.Props {
	return Guarded(log, func() actor.Actor { return receive }, options...)
}

func failsHere() { panic("injected") }

// Panics in Stopping and Stopped end there, or the library restarts the actor
// or leaves whoever watches it waiting.
func TestGuardLetsAFailingActorStop(t *testing.T) {
	log, _ := testkit.NewJournal()
	system := newSystem(t, log)
	pid := system.Root.Spawn(guardedFunc(log, func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Stopping, *actor.Stopped:
			panic("injected")
		}
	}))
	ended := make(chan *actor.Terminated, 1)
	system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			ctx.Watch(pid)
			ctx.Stop(pid)
		case *actor.Terminated:
			ended <- m
		}
	}))
	if m := testkit.Receive(t, ended); m.Who.Id != pid.Id {
		t.Errorf("the watcher is told of %s", m.Who.Id)
	}
}

func newSystem(t testing.TB, log *slog.Logger) *actor.ActorSystem {
	t.Helper()
	system := NewSystem(log)
	t.Cleanup(system.Shutdown)
	return system
}
