package renewer

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages/renewal"
)

// A desk is a session as a Renewer sees it.
type desk struct {
	*Renewer
	mu      sync.Mutex
	told    []any    // under mu
	answers []string // under mu
}

func (d *desk) takes(token string) {
	d.Take(token, func(message any) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.told = append(d.told, message)
	}, func(message []byte) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.answers = append(d.answers, string(message))
	})
}

// want fails unless these were the answers since the last look, and so many were told.
func (d *desk) want(t *testing.T, told int, answers ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.told) != told || len(d.answers) != len(answers) {
		t.Errorf("told are %v, answers %q, want %q", d.told, d.answers, answers)
		return
	}
	for i, answer := range answers {
		if d.answers[i] != answer {
			t.Errorf("answer %d is %s, want %s", i, d.answers[i], answer)
		}
	}
	d.told, d.answers = nil, nil
}

func TestTokensAreJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(time.Hour)
		var judged atomic.Int32
		d := &desk{Renewer: New(func(token string) (until, exp time.Time, why string) {
			judged.Add(1)
			time.Sleep(time.Second)
			switch token {
			case "good":
				return expires.Add(time.Second), expires, ""
			case "panic":
				panic("by the test")
			}
			return until, exp, "expired"
		}, slog.New(slog.DiscardHandler))}
		ok := string(renewal.EncodeOK(expires))
		const expired, tooOften, internal = `{"type":"auth_failed","reason":"expired"}`, `{"type":"auth_failed","reason":"too_often"}`, `{"type":"auth_failed","reason":"internal"}`

		d.takes("good")
		d.takes("good") // while that is judged
		d.want(t, 0, tooOften)
		time.Sleep(time.Second)
		synctest.Wait()
		d.mu.Lock()
		if len(d.told) != 1 || !d.told[0].(*renewal.Renewed).Until.Equal(expires.Add(time.Second)) {
			t.Errorf("told is %v", d.told)
		}
		d.mu.Unlock()
		d.want(t, 1, ok)
		d.takes("good") // nor right behind it
		d.want(t, 0, tooOften)
		time.Sleep(rest)
		d.takes("good")
		time.Sleep(time.Second)
		d.want(t, 1, ok)
		time.Sleep(rest)
		for _, wrong := range []string{"wrong", "panic"} {
			d.takes(wrong)
			time.Sleep(time.Second)
			d.want(t, 0, map[string]string{"wrong": expired, "panic": internal}[wrong])
			before := judged.Load()
			for range 100 {
				d.takes("good")
			}
			if judged.Load() != before {
				t.Error("one is judged right behind a wrong one")
			}
			d.mu.Lock()
			d.answers = nil
			d.mu.Unlock()
			time.Sleep(pause)
		}
		d.takes("good")
		time.Sleep(time.Second)
		d.want(t, 1, ok)
		d.Renewer = nil
		d.takes("good")
		d.want(t, 0, `{"type":"auth_failed","reason":"not_needed"}`)
	})
}
