package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/metrics"
)

// lines returns what a log's lines say, and empties it.
func lines(t *testing.T, log *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(log.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, fields)
	}
	log.Reset()
	return all
}

func TestOneLineASecondForEachReasonAndSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newLimitedHandler(slog.NewJSONHandler(&out, nil)))
		tunnel := log.With("tunnel", "0123456789abcdef", "source", "192.0.2.1")
		no := newRefusals(metrics.New(), log)
		refuse := func(reason messages.Reason, source string) {
			no.Refused(refused.Refusal{Endpoint: refused.HTTP, Reason: reason, Source: netip.MustParseAddr(source)})
		}
		for i := range 1000 {
			tunnel.Info("raw connection started", "peer", fmt.Sprintf("203.0.113.9:%d", i))
			refuse("no_tunnel", "203.0.113.9")
			refuse("memory", "203.0.113.9")
		}
		tunnel.Info("raw connection started", "peer", "[2001:db8::1]:1000")
		refuse("memory", "203.0.113.10")
		if got := lines(t, &out); len(got) != 5 || got[3]["left_out"] != 999.0 || got[4]["left_out"] != 999.0 {
			t.Errorf("written is %v", got)
		}
		time.Sleep(logPause - 1)
		refuse("memory", "203.0.113.9")
		if got := lines(t, &out); len(got) != 0 {
			t.Errorf("before the second is over: %v", got)
		}
		time.Sleep(time.Nanosecond)
		refuse("memory", "203.0.113.9")
		refuse("memory", "203.0.113.9")
		if got := lines(t, &out); len(got) != 1 || got[0]["left_out"] != 1.0 {
			t.Errorf("when the second is over: %v", got)
		}
	})
}

func TestTwentyLinesASecondOfOneReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		limited := newLimitedHandler(slog.NewJSONHandler(&out, nil))
		log := slog.New(limited)
		no := newRefusals(metrics.New(), log)
		const many = 5000
		for second := range 30 {
			for i := range many {
				source := netip.AddrFrom4([4]byte{10, byte(second), byte(i >> 8), byte(i)})
				no.Refused(refused.Refusal{Endpoint: refused.HTTP, Reason: messages.ReasonNoTunnel, Source: source})
			}
			if got := lines(t, &out); len(got) != logMost || second > 0 && got[0]["left_out"] != float64(many-logMost) {
				t.Errorf("second %d: %d lines, the first is %v", second, len(got), got[0])
			}
			for i := range many {
				log.Info("relay ended", "reason", "client_closed", "source", fmt.Sprintf("10.%d.%d.%d", second, i>>8, i&255))
			}
			want := logMost
			if second == 0 {
				want = logBurst
			}
			if got := lines(t, &out); len(got) != want {
				t.Errorf("second %d: %d lines about sessions", second, len(got))
			}
			time.Sleep(logPause)
		}
		if n := len(limited.limit.sources); n > logSources {
			t.Errorf("%d sources are remembered", n)
		}
	})
}

// What one address opens or closes together is all there to be read, and not
// what it goes on with.
func TestSessionsOfOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newLimitedHandler(slog.NewJSONHandler(&out, nil))).With("source", "192.0.2.1")
		for range 2 * logBurst {
			log.Info("relay ended", "reason", "client_closed")
		}
		log.Info("relay ended", "reason", "target_ended")
		if got := lines(t, &out); len(got) != logBurst+1 {
			t.Errorf("%d lines at once", len(got))
		}
		for range 10 {
			time.Sleep(logPause)
			log.Info("relay ended", "reason", "client_closed")
			log.Info("relay ended", "reason", "client_closed")
		}
		if got := lines(t, &out); len(got) != 10 {
			t.Errorf("%d lines in ten seconds", len(got))
		}
	})
}

// Who ends the server wants to know of every session that it has ended by that.
func TestEndsByAShutdownAreAllThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newLimitedHandler(slog.NewJSONHandler(&out, nil))).With("source", "192.0.2.1")
		for range 10 * logBurst {
			log.Info("relay ended", "reason", "shutdown")
			log.Info("tunnel ended", "reason", "too_old")
			log.Info("relay detached", "reason", "shutdown") // what a stranger could have again and again
		}
		if got := lines(t, &out); len(got) != 21*logBurst {
			t.Errorf("%d lines", len(got))
		}
	})
}

// What no next line tells of is told after a while, once.
func TestLeftOutIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, out := testkit.NewJournal()
		log := slog.New(newLimitedHandler(journal.Handler()))
		for range 3 {
			log.Warn("admin request refused", "endpoint", "admin", "reason", "unauthorized", "source", "192.0.2.1")
		}
		if got := out.All(); len(got) != 1 {
			t.Errorf("at once there are %v", got)
		}
		time.Sleep(10 * logLater)
		got := out.All()
		if len(got) != 2 || got[1].Message != "lines were left out" || got[1].Fields["of"] != "admin request refused" ||
			got[1].Fields["reason"] != "unauthorized" || got[1].Fields["left_out"] != int64(2) {
			t.Errorf("later there are %v", got)
		}
	})
}

// However many sources there are, what is remembered of them is bounded.
func TestSourcesAreForgotten(t *testing.T) {
	l := newLimitedHandler(slog.DiscardHandler).limit
	now := time.Now()
	for i := range logSources {
		l.sources[logKey{source: fmt.Sprint(i)}] = now
	}
	if _, write := l.admit(logKey{message: "refused", source: "new", refusal: true}, now); write {
		t.Error("there was no room, and it was written")
	}
	if leftOut, write := l.admit(logKey{message: "refused", source: "new", refusal: true}, now.Add(1)); !write || leftOut != 1 || len(l.sources) != 1 {
		t.Errorf("written %v, %d left out, %d remembered", write, leftOut, len(l.sources))
	}
}

// What net/http logs by itself has addresses and times in its message. It is
// bounded like all else, and what is remembered of it, too.
func TestMessagesWithAddressesAreOfOneReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		limited := newLimitedHandler(slog.NewJSONHandler(&out, nil))
		log := slog.NewLogLogger(limited, slog.LevelWarn)
		for i := range 1000 {
			log.Printf("http: panic serving 192.0.2.1:%d: it failed", i)
			log.Printf("http: panic serving [2001:db8::%x]:1: it failed", i)
		}
		if got := lines(t, &out); len(got) > logBurst || len(limited.limit.reasons) != 1 {
			t.Errorf("%d lines, of %d reasons", len(got), len(limited.limit.reasons))
		}
	})
}
