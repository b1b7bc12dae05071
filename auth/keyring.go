package auth

import (
	"context"
	"crypto/rsa"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
)

// maxWaiting is how many requests may wait for a fetch at once, each with its
// connection and goroutine. It covers a burst of reconnects at a rotation; what a
// flood can hold is this many connections for Timing.MaxWait.
const maxWaiting = 256

// maxLoggedKeys bounds a log line about a changed set.
const maxLoggedKeys = 8

// keyring owns the keys. One goroutine, run, fetches them and publishes each
// change as a new immutable snapshot; everyone else reads the latest and waits,
// if at all, for the next.
type keyring struct {
	// Set once.
	fetch  func(context.Context) (keySet, error)
	from   origin
	timing Timing
	log    *slog.Logger
	stop   context.CancelFunc
	ended  chan struct{} // closed when run has returned

	current atomic.Pointer[snapshot] // stored by run only
	wanted  chan struct{}            // to run: an unknown key was asked for; holds at most one
	again   chan struct{}            // to run: the operator wants the keys fetched now; holds at most one
	waiting chan struct{}            // a slot for each request that waits
	crowded atomic.Uint64            // requests that found no slot
}

// An origin says where the keys come from, which makes a difference to the log only.
type origin bool

const (
	fromEndpoint origin = false
	fromFile     origin = true // looked at so often that only news are logged
)

// snapshot is everything that is known at one moment. Immutable once published,
// but for replaced, which run closes when it publishes the next.
type snapshot struct {
	set      keySet        // of the last good fetch; no keys = none yet, or dropped
	fetched  time.Time     // when that fetch ended
	began    time.Time     // when the latest attempt began
	asked    time.Time     // when the latest one for an unknown key began
	fetching bool          // it is still under way
	closed   bool          // there will be no other
	fetches  uint64        // attempts that have ended
	failures uint64        // those of them that failed
	streak   int           // failures since the last success
	failure  error         // of the latest attempt that has ended; nil = it was good
	replaced chan struct{} // closed when this snapshot is no longer the latest
}

// newKeyring starts the first fetch and returns without waiting for it.
func newKeyring(fetch func(context.Context) (keySet, error), from origin, timing Timing, log *slog.Logger) *keyring {
	ctx, stop := context.WithCancel(context.Background())
	k := &keyring{
		fetch:   fetch,
		from:    from,
		timing:  timing,
		log:     log,
		stop:    stop,
		ended:   make(chan struct{}),
		wanted:  make(chan struct{}, 1),
		again:   make(chan struct{}, 1),
		waiting: make(chan struct{}, maxWaiting),
	}
	// Published before anyone can ask, so that the first requests wait.
	first := snapshot{began: time.Now(), fetching: true, replaced: make(chan struct{})}
	k.current.Store(&first)
	go k.run(ctx, first)
	return k
}

// close ends the fetching and waits for it. Requests that wait are refused; keys
// that are there can be used until they are too old.
func (k *keyring) close() {
	k.stop()
	<-k.ended
}

// find returns the set that has the key named kid. When it isn't known, and a fetch is under way
// or allowed, find waits for that one fetch, for Timing.MaxWait and ctx at most.
func (k *keyring) find(ctx context.Context, kid string) (keyfunc.Keyfunc, *Error) {
	latest := k.current.Load()
	set, mayCome := k.look(latest, kid)
	if set != nil || !mayCome {
		return set, k.refuse(latest, set)
	}

	select {
	case k.waiting <- struct{}{}:
		defer func() { <-k.waiting }()
	default:
		k.crowded.Add(1)
		return nil, k.refuse(latest, nil)
	}
	patience := time.NewTimer(k.timing.MaxWait)
	defer patience.Stop()
	before := latest.fetches
	for {
		if !latest.fetching {
			select {
			case k.wanted <- struct{}{}:
			default: // someone else's wish is there already, and it is the same one
			}
		}
		select {
		case <-latest.replaced:
		case <-patience.C:
			return nil, k.refuse(latest, nil)
		case <-ctx.Done():
			return nil, errCanceled(ctx.Err())
		}
		latest = k.current.Load()
		set, mayCome = k.look(latest, kid)
		if set != nil || !mayCome || latest.fetches != before {
			return set, k.refuse(latest, set)
		}
	}
}

// look finds kid in a snapshot, and says, when it isn't there, whether a fetch
// that could bring it is under way or allowed.
func (k *keyring) look(s *snapshot, kid string) (set keyfunc.Keyfunc, mayCome bool) {
	if s.set.keys[kid] != nil && !k.outdated(s) {
		return s.set.keyfunc, false
	}
	return nil, !s.closed && (s.fetching || k.mayFetch(s))
}

// refuse is what becomes of a request for whose key there is no set.
func (k *keyring) refuse(s *snapshot, set keyfunc.Keyfunc) *Error {
	switch {
	case set != nil:
		return nil
	case len(s.set.keys) == 0 || k.outdated(s):
		return errKeysUnavailable
	default:
		return errUnknownKey
	}
}

// outdated: keys that nobody has confirmed for too long may have been withdrawn.
func (k *keyring) outdated(s *snapshot) bool {
	return time.Since(s.fetched) >= k.timing.KeepFor
}

// mayFetch is the budget for unknown keys. It counts the attempts that they have
// caused, from their beginning: a slow endpoint is not asked more often for it,
// and a key that is rotated in soon after a refresh is found at once. An endpoint
// that fails is asked at its own pace; there every attempt counts.
func (k *keyring) mayFetch(s *snapshot) bool {
	since := s.asked
	if s.streak > 0 && s.began.After(since) {
		since = s.began
	}
	return time.Since(since) >= k.timing.UnknownKeyInterval
}

// run owns the state that the snapshots are copies of.
func (k *keyring) run(ctx context.Context, state snapshot) {
	defer close(k.ended)
	defer func() {
		state.fetching, state.closed = false, true
		k.publish(&state)
	}()

	next := time.NewTimer(k.timing.RefreshInterval) // set anew after each attempt
	defer next.Stop()
	for {
		set, err := k.fetch(ctx)
		if ctx.Err() != nil {
			return // an attempt that Close cut short says nothing about the endpoint
		}
		before := state
		delay := k.conclude(&state, set, err)
		next.Reset(delay)
		k.publish(&state)
		k.report(&before, &state, err, delay)
		if !k.idle(ctx, &state, next.C) {
			return
		}
		state.began, state.fetching = time.Now(), true
		k.publish(&state)
	}
}

// idle returns true when it is time for the next attempt, false at the end.
func (k *keyring) idle(ctx context.Context, state *snapshot, next <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-next:
			return true
		case <-k.again:
			return true
		case <-k.wanted:
			// A wish can be older than the attempt that has just ended.
			if k.mayFetch(state) {
				state.asked = time.Now()
				return true
			}
		}
	}
}

// publish makes a copy of state the latest snapshot, and wakes who waits for it.
func (k *keyring) publish(state *snapshot) {
	previous := state.replaced
	state.replaced = make(chan struct{})
	latest := *state
	k.current.Store(&latest)
	close(previous)
}

// conclude takes the outcome of an attempt into state, and returns how long to
// wait before the next.
func (k *keyring) conclude(state *snapshot, set keySet, err error) time.Duration {
	state.fetching = false
	state.fetches++
	state.failure = err
	if err == nil {
		state.set, state.fetched, state.streak = set, time.Now(), 0
		return k.timing.RefreshInterval
	}
	state.failures++
	state.streak++
	if k.outdated(state) {
		state.set = keySet{}
	}
	return k.timing.retryDelay(state.streak)
}

// report writes what an attempt came to, after it was published, so that nobody
// waits for the log and a line is true when it is read.
func (k *keyring) report(before, after *snapshot, err error, delay time.Duration) {
	if err == nil {
		k.reportSuccess(before, after)
		return
	}
	if k.from == fromFile {
		k.reportUnreadable(before, after)
		return
	}
	k.log.Warn("authentication keys could not be fetched", "error", err.Error(),
		"failures_in_a_row", after.streak, "retry_in", delay.String(), "keys_kept", len(after.set.keys))
	if len(before.set.keys) > 0 && len(after.set.keys) == 0 {
		k.log.Error("authentication keys dropped: the endpoint has been failing for too long; every token is refused until it answers",
			"kept_for", k.timing.KeepFor.String())
	}
}

// reportUnreadable writes nothing when the file is as it was before.
func (k *keyring) reportUnreadable(before, after *snapshot) {
	if after.failure == before.failure {
		return
	}
	message := "authentication keys could not be read: those from before stay until they can be"
	if len(after.set.keys) == 0 {
		message = "authentication keys could not be read: every token is refused until they can be"
	}
	k.log.Warn(message, "error", after.failure.Error(), "keys_kept", len(after.set.keys))
}

// reportSuccess is loud when something is new; the hourly good news is for
// debugging only.
func (k *keyring) reportSuccess(before, after *snapshot) {
	was, is := before.set, after.set
	added, removed := difference(is.keys, was.keys), difference(was.keys, is.keys)
	level := slog.LevelDebug
	if len(added)+len(removed) > 0 || before.streak > 0 || is.broken != was.broken {
		level = slog.LevelInfo
	}
	fields := []any{"keys", len(is.keys), "added", added, "removed", removed, "ignored", is.ignored}
	if is.broken != "" {
		fields = append(fields, "broken", is.broken)
	}
	message := "authentication keys fetched"
	if k.from == fromFile {
		if level == slog.LevelDebug {
			return
		}
		message = "authentication keys read"
	}
	k.log.Log(context.Background(), level, message, fields...)
}

// difference names the first few keys of one set that the other lacks, or has
// another key for.
func difference(one, other map[string]*rsa.PublicKey) []string {
	names := []string{}
	for _, kid := range slices.Sorted(maps.Keys(one)) {
		if key := other[kid]; (key == nil || !key.Equal(one[kid])) && len(names) < maxLoggedKeys {
			names = append(names, kid)
		}
	}
	return names
}
