package metrics

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

// shown returns what /metrics says of sessions that outlive their WebSocket: each
// line, and its value.
func shown(m *Metrics) map[string]string {
	answer := httptest.NewRecorder()
	m.HTTP().Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	lines := make(map[string]string)
	for line := range strings.Lines(answer.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && regexp.MustCompile(`^wsproxy_(resume|sessions?)_`).MatchString(name) {
			lines[name] = value
		}
	}
	return lines
}

// Whoever alerts on what must not happen needs the series before it has happened.
func TestSeriesOfResumedSessionsAreThereFromTheStart(t *testing.T) {
	m := New()
	m.WatchResume(func() int64 { return 0 })
	lines := shown(m)
	for name, value := range lines {
		if value != "0" {
			t.Errorf("%s is %s at the start", name, value)
		}
	}
	names := []string{"wsproxy_resume_buffer_bytes"}
	for _, endpoint := range []string{"relay", "tunnel"} {
		names = append(names, `wsproxy_sessions_detached{endpoint="`+endpoint+`"}`, `wsproxy_sessions_resumed_total{endpoint="`+endpoint+`"}`)
		for _, outcome := range []string{"resumed", "resume_timeout", "gave_way", "shutdown", "other"} {
			names = append(names, `wsproxy_session_away_seconds_count{endpoint="`+endpoint+`",outcome="`+outcome+`"}`)
		}
	}
	for _, name := range names {
		if _, ok := lines[name]; !ok {
			t.Errorf("%s is not there at the start", name)
		}
	}
}

// Every session that is detached is gone from the gauge when it is taken up, or given
// up for whatever reason, and in one histogram.
func TestSessionsThatWereAwayAreCounted(t *testing.T) {
	m := New()
	held := int64(3)
	m.WatchResume(func() int64 { return held })
	for range 7 {
		m.SessionDetached("relay")
	}
	m.SessionDetached("tunnel")
	m.SessionResumed("relay", 1500*time.Millisecond)
	m.SessionResumed("relay", 6*time.Hour)
	m.SessionGivenUp("relay", messages.ReasonResumeTimeout, 15*time.Minute)
	m.SessionGivenUp("relay", messages.ReasonGaveWay, time.Minute)
	m.SessionGivenUp("relay", messages.ReasonShutdown, time.Minute)
	m.SessionGivenUp("relay", messages.ReasonInternal, time.Minute)
	held = 4 << 20 // it is asked when somebody looks
	lines := shown(m)
	for name, want := range map[string]string{
		`wsproxy_sessions_detached{endpoint="relay"}`:       "1",
		`wsproxy_sessions_detached{endpoint="tunnel"}`:      "1",
		`wsproxy_sessions_resumed_total{endpoint="relay"}`:  "2",
		`wsproxy_sessions_resumed_total{endpoint="tunnel"}`: "0",

		`wsproxy_session_away_seconds_bucket{endpoint="relay",outcome="resumed",le="1"}`:          "0",
		`wsproxy_session_away_seconds_bucket{endpoint="relay",outcome="resumed",le="2"}`:          "1",
		`wsproxy_session_away_seconds_bucket{endpoint="relay",outcome="resumed",le="14400"}`:      "1",
		`wsproxy_session_away_seconds_bucket{endpoint="relay",outcome="resumed",le="43200"}`:      "2",
		`wsproxy_session_away_seconds_bucket{endpoint="relay",outcome="resume_timeout",le="900"}`: "1",
		`wsproxy_session_away_seconds_sum{endpoint="relay",outcome="resume_timeout"}`:             "900",
		`wsproxy_session_away_seconds_count{endpoint="relay",outcome="gave_way"}`:                 "1",
		`wsproxy_session_away_seconds_count{endpoint="relay",outcome="shutdown"}`:                 "1",
		`wsproxy_session_away_seconds_count{endpoint="relay",outcome="other"}`:                    "1",

		`wsproxy_resume_buffer_bytes`: "4.194304e+06",
	} {
		if lines[name] != want {
			t.Errorf("%s is %q, want %s", name, lines[name], want)
		}
	}
}
