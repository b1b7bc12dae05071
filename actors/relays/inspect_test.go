package relays

import (
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/actors/ledger"
	"wsproxy/actors/sessions"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
)

// list returns what all relays answer that have begun.
func (h *house) list(most int) (begun []inspect.Session, asked inspect.Asked) {
	h.t.Helper()
	answer := make(chan inspect.Asked, 1)
	h.send(h.relays, &inspect.List{Most: most, Answer: answer})
	asked = testkit.Receive(h.t, answer)
	for range asked.Number {
		if s := testkit.Receive(h.t, asked.Sessions); !s.Since.IsZero() {
			begun = append(begun, s)
		}
	}
	return begun, asked
}

// close ends the relays of an id, and returns how many there are.
func (h *house) close(id string) int {
	h.t.Helper()
	answer := make(chan int, 1)
	h.send(h.relays, &inspect.Close{ID: id, Answer: answer})
	return testkit.Receive(h.t, answer)
}

func TestRelaysSayWhatTheyAre(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		h.admitted() // has no WebSocket yet, and is none of them
		v := h.lasting()
		v.up, v.down = 7, 9
		time.Sleep(time.Minute)
		began := time.Now().Add(-time.Minute)
		want := inspect.Session{ID: sessions.ID(v.session), Kind: "relay", User: "ann", Source: v.h.source(), Target: "target:22",
			State: "relaying", Since: began, FromClient: 7, ToClient: 9}
		only := func(state string, away time.Time, resumed uint32) {
			t.Helper()
			want.State, want.DetachedSince, want.Resumed = state, away, resumed
			if got, _ := h.list(10); len(got) != 1 || got[0] != want || !inspect.IsID(got[0].ID) {
				t.Errorf("they are %+v, want %+v", got, want)
			}
			v.did()
		}
		only("relaying", time.Time{}, 0)
		v.lose(0)
		lost := time.Now()
		time.Sleep(time.Second)
		only("detached", lost, 0)
		v.resumed(1, "take up 1 7")
		want.Source = takenUpFrom
		only("relaying", time.Time{}, 1)
		v.tell(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
		only("closing", time.Time{}, 1)
		if _, asked := h.list(1); asked.Number != 1 || asked.LeftOut != 1 {
			t.Errorf("of two with a bound of one %d are asked, %d left out", asked.Number, asked.LeftOut)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded})
	})
}

// The operator ends a session in whatever state it is, and no other one.
func TestOperatorEndsARelay(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		other, young := h.relaying(), h.admitted()
		for _, id := range []string{"", "1000", "relays", sessions.ID(young.session) + "x"} {
			if n := h.close(id); n != 0 {
				t.Errorf("%d are closed by %q", n, id)
			}
		}
		h.close(sessions.ID(young.session))
		if did := young.did(); did != "" {
			t.Errorf("one that has not begun does %q", did)
		}
		v := h.relaying()
		if n := h.close(sessions.ID(v.session)); n != 1 {
			t.Errorf("%d are closed", n)
		}
		if did := v.did(); did != "finish operator" {
			t.Errorf("it does %q", did)
		}
		h.close(sessions.ID(v.session)) // he does not want to wait
		if did := v.did(); did != "cut" {
			t.Errorf("closed twice it does %q", did)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonOperator})
		synctest.Wait()
		if ended := h.lines.Of("relay ended"); len(ended) != 1 || ended[0].Fields["reason"] != "operator" {
			t.Errorf("logged is %v", ended)
		}

		away := h.lasting()
		away.lose(0)
		h.close(sessions.ID(away.session))
		if did := away.did(); did != "finish operator" {
			t.Errorf("one that waits for its client does %q", did)
		}
		if reason := away.takeUp(1); reason != "" && reason != messages.ReasonNoSession && reason != noAnswer {
			t.Errorf("taken up it says %s", reason)
		}
		if did := other.did(); did != "" {
			t.Errorf("another one does %q", did)
		}
	})
}

// A session ends at its age, whether it has a WebSocket or not, and whoever takes it up.
func TestRelaysEndAtTheirAge(t *testing.T) {
	const age = time.Hour
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, ledger.Bounds{})
		h.system.Root.Stop(h.relays)
		synctest.Wait()
		var err error
		if h.relays, err = Spawn(h.system, Needs{Limits: h.desk.Limits, Meter: h.meter, Lasting: h.terms(), Log: h.log, MaxAge: age}); err != nil {
			t.Fatal(err)
		}
		v, waits := h.relaying(), h.lasting()
		closes := h.relaying()
		closes.tell(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
		time.Sleep(age - 10*time.Minute)
		waits.lose(0)
		time.Sleep(10*time.Minute - time.Second)
		waits.resumed(1, "take up 1 7")
		young := h.relaying()
		if did := v.did(); did != "" {
			t.Errorf("before its time it does %q", did)
		}
		time.Sleep(12 * time.Second)
		for name, test := range map[string]struct {
			*visit
			want string
		}{"a plain one": {v, "finish too_old"}, "one that was taken up": {waits, "finish too_old"}, "a young one": {young, ""}, "one that closes": {closes, ""}} {
			if did := test.did(); did != test.want {
				t.Errorf("%s does %q, want %q", name, did, test.want)
			}
		}
		time.Sleep(20 * time.Second) // it is not told twice
		if did := v.did(); did != "" {
			t.Errorf("later it does %q", did)
		}
		time.Sleep(2 * time.Second) // the library's timer
	})
}

// The age may be set, and taken back, while sessions live.
func TestAgeIsChanged(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v, other := h.relaying(), h.relaying()
		time.Sleep(time.Hour)
		h.send(h.relays, &sessions.AgeBound{Most: 2 * time.Hour})
		h.send(h.relays, &sessions.AgeBound{Most: 3 * time.Hour})
		time.Sleep(90 * time.Minute)
		if did := v.did() + other.did(); did != "" {
			t.Errorf("before its time one does %q", did)
		}
		h.send(h.relays, &sessions.AgeBound{Most: 2 * time.Hour})
		time.Sleep(longestSweep)
		for _, v := range []*visit{v, other} {
			if did := v.did(); did != "finish too_old" {
				t.Errorf("beyond its age it does %q", did)
			}
			v.say(&messages.PairClosed{Reason: messages.ReasonTooOld})
		}
		h.send(h.relays, &sessions.AgeBound{})
		young := h.relaying()
		if time.Sleep(24 * time.Hour); young.did() != "" {
			t.Error("without a bound it ends")
		}
	})
}

const longestSweep = 10 * time.Second // of package sessions

// Many sessions answer soon.
func TestManyRelaysAnswer(t *testing.T) {
	const many = 5000
	h := newHouse(t, Bounds{})
	for range many {
		v := h.knock(newFakePair())
		v.want(t, "own", "resolve")
		v.say(&messages.TargetResolved{})
		testkit.Receive(t, v.answers)
		v.say(&messages.Upgraded{})
		v.want(t, "dial")
	}
	began := time.Now()
	all, _ := h.list(2 * many)
	took := time.Since(began)
	t.Logf("%d answered in %v", len(all), took)
	if len(all) != many {
		t.Errorf("%d answer, want %d", len(all), many)
	}
	if took > 10*time.Second { // some hundredths of a second, where nobody else runs
		t.Errorf("they took %v", took)
	}
}
