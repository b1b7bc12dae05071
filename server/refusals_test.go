package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/metrics"
)

// Whoever alerts on a refusal needs its series before it has happened, and whoever is
// alerted needs to know what to do.
func TestEveryRefusalIsShownAndDocumented(t *testing.T) {
	_, _, scrape := startWatched(t)
	text := scrape()
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ((?:`\\w+`(?:, )?)+) \\| [^|]{10,} \\| [^|]+ \\|$").FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		for _, endpoint := range strings.Split(row[2], ", ") {
			documented[strings.Trim(endpoint, "`")+" "+row[1]] = true
		}
	}
	for _, endpoint := range refused.Endpoints() {
		for _, reason := range refused.Reasons(endpoint) {
			if line := fmt.Sprintf("\nwsproxy_refused_total{endpoint=%q,reason=%q} 0\n", endpoint, reason); !strings.Contains(text, line) {
				t.Errorf("/metrics doesn't say %s", line[1:])
			}
			pair := string(endpoint) + " " + string(reason)
			if !documented[pair] {
				t.Errorf("docs/troubleshooting.md has no row for %s", pair)
			}
			delete(documented, pair)
		}
	}
	for pair := range documented {
		t.Errorf("docs/troubleshooting.md has a row for %s, which can't be", pair)
	}
	if n := strings.Count(text, "\nwsproxy_refused_total{"); n < 60 {
		t.Errorf("there are %d series", n)
	}
}

// Each reason that a session's end is counted by has its row, too, and none has one that it
// can't end for.
func TestEveryEndIsDocumented(t *testing.T) {
	_, text := families(t)
	documents := read(t, "docs/troubleshooting.md")
	_, table, _ := strings.Cut(documents, "\n## Why a session has ended\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`\\w+`(?:, )?)+) \\|").FindAllStringSubmatch(table, -1) {
		for _, reason := range strings.Split(row[1], ", ") {
			documented[strings.Trim(reason, "`")] = true
		}
	}
	counted := make(map[string]bool)
	for _, series := range regexp.MustCompile(`(?m)^wsproxy_\w+_ended_total{reason="(\w+)"}`).FindAllStringSubmatch(text, -1) {
		counted[series[1]] = true
		if !documented[series[1]] {
			t.Errorf("docs/troubleshooting.md doesn't say what %s means", series[1])
		}
	}
	for reason := range documented {
		if !counted[reason] {
			t.Errorf("docs/troubleshooting.md has a row for %s, by which no end is counted", reason)
		}
	}
	if len(counted) < 20 {
		t.Errorf("ends are counted by %d reasons", len(counted))
	}
}

// What a line says is who was refused what and why, and nothing that a stranger has
// made up.
func TestLinesOfRefusals(t *testing.T) {
	target := func() string { return "db.example:5432" }
	source := netip.MustParseAddr("2001:db8::7")
	for _, c := range []struct {
		no   refused.Refusal
		want string
	}{
		{refused.Refusal{Endpoint: refused.Relay, Reason: messages.ReasonTargetRefused, Source: source, User: "ann", Target: target,
			Origin: "https://app.example", Cause: errors.New("it is within 10.0.0.0/8")},
			`"endpoint":"relay","reason":"target_refused","source":"2001:db8::7","user":"ann","target":"db.example:5432","origin":"https://app.example","error":"it is within 10.0.0.0/8"`},
		{refused.Refusal{Endpoint: refused.Tunnel, Reason: refused.TokenExpired, Source: source, Target: func() string { return "" }, Origin: "https://x/?token=y"},
			`"endpoint":"tunnel","reason":"token_expired","source":"2001:db8::7","origin":"unreadable"`},
		{refused.Refusal{Endpoint: refused.HTTP, Reason: messages.ReasonNoTunnel, Source: source, Subdomain: "0123456789abcdef"},
			`"endpoint":"http","reason":"no_tunnel","source":"2001:db8::7","subdomain":"0123456789abcdef"`},
		{refused.Refusal{Endpoint: refused.Raw, Reason: messages.ReasonRawFull, Source: source, Subdomain: "a\nsecret"},
			`"endpoint":"raw","reason":"raw_full","source":"2001:db8::7"`},
	} {
		var out bytes.Buffer
		meter := metrics.New()
		no := newRefusals(meter, slog.New(newLimitedHandler(slog.NewJSONHandler(&out, nil))))
		no.Refused(c.no)
		if _, said, _ := strings.Cut(out.String(), `"level":"INFO","msg":"refused",`); said != c.want+"}\n" {
			t.Errorf("written is %s", out.String())
		}
		answer := httptest.NewRecorder()
		meter.HTTP().Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		if line := fmt.Sprintf("\nwsproxy_refused_total{endpoint=%q,reason=%q} 1\n", c.no.Endpoint, c.no.Reason); !strings.Contains(answer.Body.String(), line) {
			t.Errorf("/metrics doesn't say %s", line)
		}
	}
}

// Of a flood most lines are left out. Then nothing is worked out for them.
func TestFloodOfRefusalsCostsLittle(t *testing.T) {
	no := newRefusals(metrics.New(), slog.New(newLimitedHandler(slog.NewJSONHandler(io.Discard, nil))))
	asked := 0
	flood := refused.Refusal{Endpoint: refused.Relay, Reason: refused.TokenMissing, Source: netip.MustParseAddr("192.0.2.1"),
		Target: func() string { asked++; return "" }, Origin: "https://app.example"}
	no.Refused(flood)
	if allocs := testing.AllocsPerRun(1000, func() { no.Refused(flood) }); allocs > 2 {
		t.Errorf("a refusal that is not written allocates %v times", allocs)
	}
	if asked > 5 { // one a second, on a machine that may be slow
		t.Errorf("the target was worked out %d times", asked)
	}
}

func BenchmarkRefusal(b *testing.B) {
	no := newRefusals(metrics.New(), slog.New(newLimitedHandler(slog.NewJSONHandler(io.Discard, nil))))
	flood := refused.Refusal{Endpoint: refused.Relay, Reason: refused.TokenMissing, Source: netip.MustParseAddr("192.0.2.1"), Origin: "https://app.example"}
	b.ReportAllocs()
	for b.Loop() {
		no.Refused(flood)
	}
}
