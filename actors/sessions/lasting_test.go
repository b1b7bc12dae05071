package sessions

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

// A stage is the actor of a session, as far as a Lasting sees it: what it is sent
// comes out of the probe.
type stage struct {
	actor.Context // nil: what a Lasting has no business to call panics
	probe         *desk.Probe
	system        *actor.ActorSystem
	limits        *desk.Probe
	told          []string // to the meter
	refusal       messages.Reason
	Lasting
}

func (s *stage) ActorSystem() *actor.ActorSystem { return s.system }
func (s *stage) Self() *actor.PID                { return s.probe.PID }
func (s *stage) Send(to *actor.PID, m any)       { s.probe.Root.Send(to, m) }

func (s *stage) SessionDetached(string) { s.told = append(s.told, "detached") }
func (s *stage) SessionResumed(_ string, away time.Duration) {
	s.told = append(s.told, fmt.Sprint("resumed after ", away))
}
func (s *stage) SessionGivenUp(_ string, reason messages.Reason, away time.Duration) {
	s.told = append(s.told, fmt.Sprint(reason, " after ", away))
}

func (s *stage) Announce(string) {}
func (s *stage) TakeUp(messages.WebSocket, uint32, uint64) messages.Reason {
	return s.refusal
}

func (s *stage) lose(number uint32, known bool) {
	s.Ended(s, &messages.WebSocketEnded{Number: number, Lost: true, Known: known})
}

// resume has a client ask for the session, and reports whether it has it.
func (s *stage) resume(attempt uint64) bool {
	answer := make(chan messages.Reason, 1)
	_, ok := s.Lasting.TakeUp(s, &messages.TakeUp{Secret: s.secretText(), Attempt: attempt, Readable: true, Answer: answer}, "", s)
	return ok && <-answer == ""
}

// late returns the one message that says that the time is over, or nil.
func (s *stage) late() *TooLate {
	synctest.Wait()
	select {
	case m := <-s.probe.Got:
		return m.(*TooLate)
	default:
		return nil
	}
}

func onStage(t *testing.T, timeout time.Duration, test func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		system := desk.NewSystem(t, slog.New(slog.DiscardHandler))
		s := &stage{probe: desk.NewProbe(t, system), system: system, limits: desk.NewProbe(t, system)}
		s.Open(s, &Terms{Timeout: timeout, Endpoint: "relay", Meter: s, Limits: s.limits.PID})
		test(s)
		time.Sleep(2 * time.Second) // the library's timer
	})
}

// A timer that has run out while the session was being taken up means nothing, though
// the session is lost again before it is read.
func TestTooLateOfAnEarlierLoss(t *testing.T) {
	onStage(t, time.Minute, func(s *stage) {
		s.lose(0, true)
		time.Sleep(time.Minute)
		late := s.late()
		if late == nil || !s.IsTooLate(late) {
			t.Fatalf("after its time: %v", late)
		}
		if !s.resume(1) || s.IsTooLate(late) {
			t.Error("taken up it is too late, or it is not taken up")
		}
		s.lose(1, true)
		if s.IsTooLate(late) {
			t.Error("the time of an earlier loss is over, and ends this one's")
		}
		time.Sleep(time.Minute)
		if late = s.late(); late == nil || !s.IsTooLate(late) {
			t.Errorf("after its own time: %v", late)
		}
		s.Close(messages.ReasonResumeTimeout)
		if got, want := strings.Join(s.told, ", "), "detached, resumed after 1m0s, detached, resume_timeout after 1m0s"; got != want {
			t.Errorf("the meter was told %q, want %q", got, want)
		}
		if s.IsTooLate(late) || s.resume(9) {
			t.Error("it is over, and ends or is taken up")
		}
	})
}

// A client that may not know the token is waited for no longer than any other.
func TestUnknownClientIsNotWaitedForLonger(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Hour: 5 * time.Second} {
		onStage(t, timeout, func(s *stage) {
			s.lose(0, false)
			time.Sleep(want - time.Nanosecond)
			if s.late() != nil {
				t.Errorf("of %s it is too late after less than %s", timeout, want)
			}
			time.Sleep(time.Nanosecond)
			if s.late() == nil {
				t.Errorf("of %s it is not too late after %s", timeout, want)
			}
			s.Close(messages.ReasonResumeTimeout)
		})
	}
}

// The limits hear of each loss and each return, once.
func TestLimitsHearOfLossAndReturn(t *testing.T) {
	onStage(t, time.Minute, func(s *stage) {
		s.lose(0, true)
		s.lose(0, true)
		s.refusal = messages.ReasonNotContinued
		if s.resume(1) {
			t.Error("it is taken up though the session refuses")
		}
		s.refusal = ""
		if !s.resume(1) || !s.resume(2) || s.resume(2) {
			t.Error("it is not taken up, or by the same attempt twice")
		}
		s.lose(1, true) // another one's
		var told []bool
		synctest.Wait()
		for len(s.limits.Got) > 0 {
			m := (<-s.limits.Got).(*messages.Detached)
			if m.Holder != s.probe.PID {
				t.Errorf("they hear of %v", m.Holder)
			}
			told = append(told, m.Away)
		}
		if got := fmt.Sprint(told); got != "[true false]" {
			t.Errorf("they hear %s", got)
		}
		s.Close(messages.ReasonShutdown)
	})
}

// A fault ends a session that waits, but nothing else that its lost WebSocket says.
func TestFaultWhileAway(t *testing.T) {
	onStage(t, time.Minute, func(s *stage) {
		s.lose(0, true)
		if ends, _ := s.Ended(s, &messages.WebSocketEnded{Reason: messages.ReasonClientClosed}); ends {
			t.Error("it ends by a close frame of a WebSocket that was lost")
		}
		if ends, _ := s.Ended(s, &messages.WebSocketEnded{Reason: messages.ReasonInternal}); !ends {
			t.Error("it does not end by a fault")
		}
		if s.resume(1) {
			t.Error("it is taken up after a fault")
		}
		s.Close(messages.ReasonInternal)
	})
}

// The zero Lasting is that of a session that ends with its WebSocket.
func TestSessionThatDoesNotLast(t *testing.T) {
	var l Lasting
	s := &stage{}
	if ends, lost := l.Ended(s, &messages.WebSocketEnded{Lost: true}); ends || lost || l.IsAway() || l.IsTooLate(&TooLate{}) {
		t.Error("it is lost")
	}
	answer := make(chan messages.Reason, 1)
	if _, ok := l.TakeUp(s, &messages.TakeUp{Attempt: 1, Readable: true, Answer: answer}, "", s); ok || <-answer != messages.ReasonNoSession {
		t.Error("it is taken up")
	}
	l.Close(messages.ReasonShutdown)
}
