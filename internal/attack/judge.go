package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"wsproxy/internal/attack/neighbour"
	"wsproxy/internal/attack/play"
)

const (
	// calmTimes is how much slower than when calm the neighbour may be served.
	calmTimes = 10
	// logRate is how many lines of one reason may come in a second.
	logRate = 20
	// logBurst is how many more lines about sessions may come at once.
	logBurst = 100
)

// A result is what was seen of an attack.
type result struct {
	attack   play.Attack
	took     time.Duration
	peaks    peaks
	calm     map[string]neighbour.Measure
	under    map[string]neighbour.Measure
	died     string // how the server ended; "" if it lives
	logBytes int64
	logKind  string // the most frequent line
	logLines int
	cpu      time.Duration // the attacker's
	deeds    play.Deeds
}

// Limits are what a verdict is by.
type limits struct {
	memory int64         // bytes
	floor  time.Duration // p99 below it is never bad
}

// faults are what is bad, each a few words. Without any the verdict is good.
func (r *result) faults(l limits) (faults []string) {
	if len(r.deeds.Done) == 0 {
		faults = append(faults, "the attack did nothing: "+r.deeds.Error)
	}
	if r.died != "" {
		faults = append(faults, "server "+r.died)
	} else if r.peaks.charged > l.memory {
		faults = append(faults, fmt.Sprintf("%d MiB with its sockets, of %d", r.peaks.charged>>20, l.memory>>20))
	}
	for _, name := range names(r.under) {
		if m := r.under[name]; m.Failures > 0 {
			faults = append(faults, fmt.Sprintf("%s: %d of %d failed (%s)", name, m.Failures, m.Requests, shortened(m.Failure)))
		}
	}
	if r.died == "" {
		faults = append(faults, r.slow(l)...)
	}
	// The first second's may come at once, and those about sessions by the hundred.
	most := int(logRate * (r.took.Seconds() + 1))
	if strings.HasPrefix(r.logKind, "relay ") || strings.HasPrefix(r.logKind, "tunnel ") {
		most += logBurst
	}
	if r.logLines > most {
		faults = append(faults, fmt.Sprintf("%d lines %q in %.0f s", r.logLines, r.logKind, r.took.Seconds()))
	}
	return faults
}

// manyRequests is from how many on a kind of request has a p99 of its own.
const manyRequests = 300

// slow names what was served too slowly, or not at all. The p99 of a few
// requests is the slowest of them, which says more of the machine than of the
// server: there half of them must be too slow.
func (r *result) slow(l limits) (faults []string) {
	for _, name := range names(r.calm) {
		under, calm := r.under[name], r.calm[name]
		took, what := under.P99, "p99"
		if under.Requests < manyRequests {
			took, what = under.Median, "median"
		}
		switch bound := max(l.floor, calmTimes*calm.P99); {
		case under.Requests == 0:
			faults = append(faults, name+": not one request")
		case under.Failures == 0 && took > bound:
			faults = append(faults, fmt.Sprintf("%s: %s %s, calm p99 %s", name, what, rounded(took), rounded(calm.P99)))
		}
	}
	return faults
}

// onlySlow reports whether the verdict is bad by times alone, which a busy
// machine makes too.
func (r *result) onlySlow(l limits) bool {
	all, slow := r.faults(l), r.slow(l)
	return r.died == "" && len(slow) > 0 && len(all) == len(slow)
}

// table prints the results.
func table(to io.Writer, results []*result, l limits) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "attack\tRSS\tcharged\tsockets\tfailures\tp99 (calm)\tlarge (calm)\tlog KiB/s\tattacker CPU\tverdict")
	for _, r := range results {
		failures, requests := 0, 0
		for name, m := range r.under {
			if name == neighbour.Small {
				continue
			}
			failures, requests = failures+m.Failures, requests+m.Requests
		}
		verdict := "good"
		if faults := r.faults(l); len(faults) > 0 {
			verdict = "BAD: " + strings.Join(faults, "; ")
		}
		small, large := neighbour.Small, neighbour.Large
		fmt.Fprintf(w, "%s\t%d MiB\t%d MiB\t%d MiB\t%d of %d\t%s (%s)\t%s (%s)\t%.0f\t%.0f %%\t%s\n", r.attack.Name,
			r.peaks.resident>>20, r.peaks.charged>>20, r.peaks.sockets>>20, failures, requests,
			rounded(r.under[small].P99), rounded(r.calm[small].P99), rounded(r.under[large].P99), rounded(r.calm[large].P99),
			float64(r.logBytes)/1024/r.took.Seconds(), 100*r.cpu.Seconds()/r.took.Seconds(), verdict)
	}
	w.Flush()
}

func names(measures map[string]neighbour.Measure) (all []string) {
	for name := range measures {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func rounded(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// shortened keeps the end of an error, which says what it is.
func shortened(text string) string {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}
