package auth

import (
	"math"
	"time"
)

// The defaults of Timing.
const (
	// DefaultFetchTimeout covers a whole fetch. Key sets are small and come from
	// caches near by; one that takes longer is as good as down.
	DefaultFetchTimeout = 10 * time.Second
	// DefaultRefreshInterval is how long a withdrawn key may go on being accepted
	// while nothing is wrong.
	DefaultRefreshInterval = time.Hour
	// DefaultRetryFirst is the wait after the first failure; it doubles from there.
	DefaultRetryFirst = 5 * time.Second
	// DefaultRetryMax is where the doubling ends.
	DefaultRetryMax = time.Minute
	// DefaultUnknownKeyInterval is the budget for tokens with unknown keys, all of
	// them together: anyone can make such tokens, so they must not be able to turn
	// this server against the issuer's.
	DefaultUnknownKeyInterval = time.Minute
	// DefaultMaxWait is how long a request waits for its key: long enough for a
	// fetch, short enough for a person.
	DefaultMaxWait = 3 * time.Second
	// DefaultKeepFor is how long an outage of the endpoint is bridged.
	DefaultKeepFor = 24 * time.Hour

	// FileInterval is how often a key set on disk is looked at. A change has to count
	// within 10 s, on a busy machine and if the first look saw it half written.
	FileInterval = 3 * time.Second
	// FileUnknownKeyInterval is UnknownKeyInterval for a key set on disk. There is
	// nobody whom a flood of unknown keys could hurt, and a second keeps it cheap.
	FileUnknownKeyInterval = time.Second
)

// Timing is when keys are fetched and how long things may take. A zero field
// means its default; only tests have a reason to set one.
type Timing struct {
	FetchTimeout       time.Duration // a whole fetch, to the last byte
	RefreshInterval    time.Duration // from a good fetch to the next
	RetryFirst         time.Duration // from the first failure to the next attempt, doubling
	RetryMax           time.Duration // the longest wait between attempts during an outage
	UnknownKeyInterval time.Duration // from the beginning of any attempt to one that an unknown key may cause
	MaxWait            time.Duration // what one request waits for a fetch
	KeepFor            time.Duration // age at which keys that can't be refreshed are dropped
}

func (t Timing) withDefaults() Timing {
	for _, field := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&t.FetchTimeout, DefaultFetchTimeout},
		{&t.RefreshInterval, DefaultRefreshInterval},
		{&t.RetryFirst, DefaultRetryFirst},
		{&t.RetryMax, DefaultRetryMax},
		{&t.UnknownKeyInterval, DefaultUnknownKeyInterval},
		{&t.MaxWait, DefaultMaxWait},
		{&t.KeepFor, DefaultKeepFor},
	} {
		if *field.value <= 0 {
			*field.value = field.fallback
		}
	}
	return t
}

// forFile is what holds for a key set on disk. What is there is the operator's word:
// a file that can't be read withdraws nothing, however long it lasts.
func (t Timing) forFile() Timing {
	t.RefreshInterval, t.RetryFirst, t.RetryMax = FileInterval, FileInterval, FileInterval
	t.UnknownKeyInterval = FileUnknownKeyInterval
	t.KeepFor = math.MaxInt64
	return t
}

// retryDelay is the wait after so many failures in a row, one or more: 5, 10, 20,
// 40, then 60 seconds by default, for ever.
func (t Timing) retryDelay(failures int) time.Duration {
	delay := t.RetryFirst
	for range failures - 1 {
		if delay >= t.RetryMax {
			break
		}
		delay *= 2
	}
	return min(delay, t.RetryMax)
}
