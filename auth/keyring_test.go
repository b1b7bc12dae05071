package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// verifyLater verifies on a goroutine of its own; the result comes when it comes.
func verifyLater(ctx context.Context, v *Verifier, token string) <-chan Reason {
	result := make(chan Reason, 1)
	go func() {
		_, err := v.Verify(ctx, token)
		var refused *Error
		errors.As(err, &refused)
		if refused == nil {
			result <- ""
			return
		}
		result <- refused.Reason
	}()
	return result
}

func TestRequestsBeforeTheFirstFetchWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.succeed(2*time.Second, jwk("a", keyA))
		began := time.Now()
		v := start(t, Config{}, e)
		if time.Since(began) != 0 {
			t.Error("New waited for the network")
		}
		good := verifyLater(t.Context(), v, sign(goodClaims()))
		unknown := verifyLater(t.Context(), v, withUnknownKid("unknown"))
		synctest.Wait()
		if waiting := v.Stats().Waiting; waiting != 2 {
			t.Errorf("%d requests wait, want 2", waiting)
		}
		if got := <-good; got != "" || time.Since(began) != 2*time.Second {
			t.Errorf("refused for %q after %s", got, time.Since(began))
		}
		if got := <-unknown; got != ReasonUnknownKey || time.Since(began) != 2*time.Second {
			t.Errorf("refused for %q after %s", got, time.Since(began))
		}
		if s := v.Stats(); s.Waiting != 0 || s.Fetches != 1 || s.Failures != 0 || s.Keys != 1 || !s.LastSuccess.Equal(time.Now()) {
			t.Errorf("stats are %+v", s)
		}
	})
}

func TestNobodyWaitsForASlowFetchLongerThanMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.hang()
		began := time.Now()
		v := start(t, Config{}, e)
		if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable || time.Since(began) != DefaultMaxWait {
			t.Errorf("refused for %q after %s", got, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := v.Verify(ctx, sign(goodClaims()))
		var refused *Error
		if !errors.As(err, &refused) || refused.Reason != ReasonCanceled || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ended: %v", err)
		}
		if waited := time.Since(began); waited != DefaultMaxWait+time.Second {
			t.Errorf("it waited %s", waited)
		}
		// The fetch itself is bounded as well.
		time.Sleep(DefaultFetchTimeout)
		synctest.Wait()
		if s := v.Stats(); s.Failures != 1 {
			t.Errorf("a fetch that hangs is not given up: %+v", s)
		}
	})
}

// A token that expires while its key is fetched is judged again.
func TestATokenThatExpiresWhileItsKeyIsFetchedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.succeed(2*time.Second, jwk("a", keyA))
		v := start(t, Config{}, e)
		token := sign(goodClaims(object{"exp": time.Now().Add(time.Second - Leeway).Unix()}))
		if got := reasonOf(t, v, token); got != ReasonExpired {
			t.Errorf("refused for %q", got)
		}
	})
}

func TestARotatedKeyIsFetchedOnFirstUse(t *testing.T) {
	lines := newLogLines()
	bubble(t, Config{Logger: slog.New(lines)}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		e.succeed(time.Second, jwk("a", keyA), jwk("b", keyB))
		fresh := func() string { return signText(keyB, `{"alg":"RS256","kid":"b"}`, encode(goodClaims())) }

		// Soon after the first fetch: nobody has asked for an unknown key yet.
		if got := reasonOf(t, v, fresh()); got != "" {
			t.Errorf("right after the rotation: refused for %q", got)
		}
	})
}

func TestARotatedKeyWaitsForTheBudget(t *testing.T) {
	lines := newLogLines()
	bubble(t, Config{Logger: slog.New(lines)}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		reasonOf(t, v, withUnknownKid("made up")) // takes this minute's fetch
		e.succeed(time.Second, jwk("a", keyA), jwk("b", keyB))
		fresh := func() string { return signText(keyB, `{"alg":"RS256","kid":"b"}`, encode(goodClaims())) }

		// The last attempt is too young: refused at once, without a fetch.
		time.Sleep(DefaultUnknownKeyInterval - time.Nanosecond)
		began := time.Now()
		if got := reasonOf(t, v, fresh()); got != ReasonUnknownKey || time.Since(began) != 0 {
			t.Errorf("within the budget's minute: refused for %q after %s", got, time.Since(began))
		}
		if asked := e.asked(); len(asked) != 2 {
			t.Fatalf("%d fetches within a minute, want the first and one for an unknown key", len(asked))
		}
		time.Sleep(time.Nanosecond)
		if got := reasonOf(t, v, fresh()); got != "" {
			t.Errorf("a minute after the last attempt: refused for %q", got)
		}
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("the old key, which is still published: refused for %q", got)
		}

		// The issuer withdraws the old key: it works until the next refresh.
		e.succeed(0, jwk("b", keyB))
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("before the refresh: refused for %q", got)
		}
		time.Sleep(DefaultRefreshInterval)
		synctest.Wait()
		if got := reasonOf(t, v, sign(goodClaims())); got != ReasonUnknownKey {
			t.Errorf("after the refresh: refused for %q", got)
		}
		if got := reasonOf(t, v, fresh()); got != "" {
			t.Errorf("the new key after the refresh: refused for %q", got)
		}
		want := []string{"added=[a] removed=[]", "added=[b] removed=[]", "added=[] removed=[a]"}
		got := slices.DeleteFunc(lines.drain(), func(line string) bool { return strings.HasPrefix(line, "DEBUG") })
		for i, line := range got {
			if i >= len(want) || !strings.Contains(line, want[i]) || !strings.HasPrefix(line, "INFO") ||
				!strings.Contains(line, "url=https://issuer.example/jwks") {
				t.Errorf("line %d: %s", i, line)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
	})
}

// Another key under an old name counts as a change, and only the new one works.
func TestAKeyMayBeReplacedUnderItsName(t *testing.T) {
	lines := newLogLines()
	bubble(t, Config{Logger: slog.New(lines)}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		lines.drain()
		e.succeed(0, jwk("a", keyB))
		time.Sleep(DefaultRefreshInterval)
		synctest.Wait()
		if got := reasonOf(t, v, sign(goodClaims())); got != ReasonSignature {
			t.Errorf("the old key: refused for %q", got)
		}
		if got := reasonOf(t, v, signText(keyB, `{"alg":"RS256","kid":"a"}`, encode(goodClaims()))); got != "" {
			t.Errorf("the new key: refused for %q", got)
		}
		if got := lines.drain(); len(got) != 1 || !strings.Contains(got[0], "added=[a] removed=[a]") {
			t.Errorf("logged %q", got)
		}
	})
}

// Whatever comes, unknown keys cause one fetch a minute.
func TestTheBudgetForUnknownKeys(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		first := e.asked()[0]
		for second := range 600 {
			for i := range 3 {
				kid := fmt.Sprintf("kid-%d-%d", second, i)
				if got := reasonOf(t, v, withUnknownKid(kid)); got != ReasonUnknownKey {
					t.Fatalf("refused for %q", got)
				}
			}
			time.Sleep(time.Second)
		}
		asked := e.asked()
		if len(asked) != 11 {
			t.Errorf("%d fetches in ten minutes, want one a minute and the first", len(asked))
		}
		for i, at := range asked[1:] {
			if since := at.Sub(first); since != time.Duration(i)*DefaultUnknownKeyInterval {
				t.Errorf("fetch %d began after %s", i, since)
			}
		}
	})
}

func TestAFloodOfUnknownKeys(t *testing.T) {
	const flood = 10_000
	bubble(t, Config{}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		time.Sleep(DefaultUnknownKeyInterval)
		e.succeed(time.Second, jwk("a", keyA))
		began := time.Now()
		var results []<-chan Reason
		for i := range flood {
			results = append(results, verifyLater(t.Context(), v, withUnknownKid(fmt.Sprint("random-", i))))
		}
		synctest.Wait()
		s := v.Stats()
		if s.Waiting != maxWaiting || s.Crowded != flood-maxWaiting || time.Since(began) != 0 {
			t.Errorf("%d wait and %d were refused at once, want %d and %d", s.Waiting, s.Crowded, maxWaiting, flood-maxWaiting)
		}
		// Who has a known key notices nothing.
		if got := reasonOf(t, v, sign(goodClaims())); got != "" || time.Since(began) != 0 {
			t.Errorf("a good token within the flood: refused for %q after %s", got, time.Since(began))
		}
		for _, result := range results {
			if got := <-result; got != ReasonUnknownKey {
				t.Fatalf("refused for %q", got)
			}
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the last was refused after %s", waited)
		}
		for range 100 {
			reasonOf(t, v, withUnknownKid("one more"))
		}
		if asked := e.asked(); len(asked) != 2 {
			t.Errorf("the flood caused %d fetches, want 1", len(asked)-1)
		}
		if waiting := v.Stats().Waiting; waiting != 0 {
			t.Errorf("%d slots are still taken", waiting)
		}
	})
}

func TestAnOutageIsRetriedWithGrowingDelays(t *testing.T) {
	lines := newLogLines()
	bubble(t, Config{Logger: slog.New(lines)}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		delays := func() []time.Duration {
			asked := e.asked()
			var delays []time.Duration
			for i := 1; i < len(asked); i++ {
				delays = append(delays, asked[i].Sub(asked[i-1]))
			}
			return delays
		}
		e.fail()
		time.Sleep(DefaultRefreshInterval + 6*time.Minute)
		want := []time.Duration{time.Hour, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second,
			time.Minute, time.Minute, time.Minute, time.Minute}
		if got := delays(); !slices.Equal(got, want) {
			t.Errorf("the fetches are apart by %v,\nwant %v", got, want)
		}
		logged := lines.drain()[1:]
		if len(logged) != len(want) {
			t.Errorf("%d lines for %d failures", len(logged), len(want))
		}
		for _, line := range logged {
			if !strings.HasPrefix(line, "WARN") || !strings.Contains(line, errDown.Error()) || !strings.Contains(line, "keys_kept=1") {
				t.Error(line)
			}
		}
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("during the outage: refused for %q", got)
		}

		// It ends, and an hour later the next begins, with short delays again.
		e.succeed(0, jwk("a", keyA))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := lines.drain(); len(got) != 1 || !strings.HasPrefix(got[0], "INFO") {
			t.Errorf("its end is logged as %q", got)
		}
		e.fail()
		time.Sleep(DefaultRefreshInterval + 30*time.Second)
		want = append(want, time.Minute, time.Hour, 5*time.Second, 10*time.Second)
		if got := delays(); !slices.Equal(got[:len(want)], want) {
			t.Errorf("the fetches are apart by %v,\nwant %v", got, want)
		}
	})
}

func TestKeysOutliveAnOutageForADay(t *testing.T) {
	lines := newLogLines()
	bubble(t, Config{Logger: slog.New(lines)}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		e.fail()
		time.Sleep(DefaultKeepFor - time.Nanosecond)
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("just before the end: refused for %q", got)
		}
		if keys := v.Stats().Keys; keys != 1 {
			t.Errorf("stats show %d keys", keys)
		}
		time.Sleep(2 * time.Nanosecond)
		if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable {
			t.Errorf("after a day: refused for %q", got)
		}
		if keys := v.Stats().Keys; keys != 0 {
			t.Errorf("stats show %d keys", keys)
		}
		time.Sleep(2 * DefaultRetryMax)
		synctest.Wait()
		if dropped := slices.DeleteFunc(lines.drain(), func(line string) bool { return !strings.HasPrefix(line, "ERROR") }); len(dropped) != 1 {
			t.Errorf("that keys were dropped is logged as %q", dropped)
		}
		e.succeed(0, jwk("a", keyA))
		time.Sleep(DefaultRetryMax)
		synctest.Wait()
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("after its return: refused for %q", got)
		}
	})
}

func TestStartWhileTheEndpointIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.fail()
		v := start(t, Config{}, e)
		synctest.Wait()
		began := time.Now()
		if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable || time.Since(began) != 0 {
			t.Errorf("refused for %q after %s", got, time.Since(began))
		}
		e.succeed(0, jwk("a", keyA))
		time.Sleep(DefaultRetryFirst)
		synctest.Wait()
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("once it is up: refused for %q", got)
		}
	})
}

// While retries are a minute apart an unknown key doesn't add to them.
func TestUnknownKeysDoNotHurryRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.fail()
		v := start(t, Config{}, e)
		for range 3600 {
			reasonOf(t, v, withUnknownKid("a"))
			time.Sleep(time.Second)
		}
		// 0, 5, 15, 35, 75, then one a minute.
		asked, want := len(e.asked()), 5+(3600-75)/60
		if asked < want-1 || asked > want+1 {
			t.Errorf("%d fetches in an hour of requests, want about %d", asked, want)
		}
	})
}

func TestCloseRefusesWhoWaitsAndKeepsWhatIsKnown(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		time.Sleep(DefaultUnknownKeyInterval)
		e.hang()
		waiting := verifyLater(t.Context(), v, withUnknownKid("unknown"))
		synctest.Wait()
		began := time.Now()
		v.Close()
		if got := <-waiting; got != ReasonUnknownKey {
			t.Errorf("who waited is refused for %q", got)
		}
		v.Close()
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("a known key after Close: refused for %q", got)
		}
		time.Sleep(DefaultUnknownKeyInterval)
		if got := reasonOf(t, v, withUnknownKid("unknown")); got != ReasonUnknownKey {
			t.Errorf("an unknown key after Close: refused for %q", got)
		}
		if waited := time.Since(began) - DefaultUnknownKeyInterval; waited != 0 {
			t.Errorf("something waited for %s", waited)
		}
		if s := v.Stats(); s.Failures != 0 || s.Fetches != 1 {
			t.Errorf("the fetch that Close cut short is counted: %+v", s)
		}
	})
}
