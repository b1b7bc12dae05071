package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

func TestWhatIsCountedIsShown(t *testing.T) {
	m := New()
	shown := func() string {
		answer := httptest.NewRecorder()
		m.HTTP().Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		return "\n" + answer.Body.String()
	}
	if strings.Contains(shown(), "wsproxy_jwks_") {
		t.Error("keys are shown that nobody checks tokens with")
	}

	m.RelayStarted()
	m.RelayStarted()
	m.RelayEnded(messages.ReasonTargetReset, 2*time.Minute)
	m.ShowRefused("relay", []messages.Reason{messages.ReasonOrigin, messages.ReasonDraining})
	m.Refused("relay", messages.ReasonOrigin)
	m.TunnelStarted()
	if got := m.Served(); got != (Served{Relays: 2, Tunnels: 1}) {
		t.Errorf("served is %+v", got)
	}
	m.HandlerRestarted()
	m.RawStarted()
	m.RawEnded(messages.CloseEOF, time.Second)
	flow := func(fromClient, toClient int64) Flow { return func() (int64, int64) { return fromClient, toClient } }
	m.WatchBytes(flow(3, 4), flow(6, 5), flow(7, 8))
	keys := Keys{Fetches: 7, Failures: 2, Usable: 3, LastSuccess: time.UnixMilli(1500), Waiting: 5}
	m.WatchKeys(func() Keys { return keys })
	keys.Usable = 4 // it is asked when somebody looks
	for _, line := range []string{
		"wsproxy_relay_sessions 1",
		`wsproxy_relay_sessions_ended_total{reason="` + string(messages.ReasonTargetReset) + `"} 1`,
		"wsproxy_relay_sessions_started_total 2",
		`wsproxy_session_seconds_sum{endpoint="relay"} 120`,
		`wsproxy_session_seconds_count{endpoint="raw"} 1`,
		`wsproxy_relay_bytes_total{direction="up"} 3`,
		`wsproxy_relay_bytes_total{direction="down"} 4`,
		`wsproxy_tunnel_bytes_total{direction="from_client"} 7`,
		`wsproxy_tunnel_bytes_total{direction="to_client"} 8`,
		`wsproxy_refused_total{endpoint="relay",reason="` + string(messages.ReasonOrigin) + `"} 1`,
		`wsproxy_refused_total{endpoint="relay",reason="draining"} 0`,
		"wsproxy_tunnels 1",
		"wsproxy_tunnel_restarts_total 1",
		"wsproxy_raw_connections 0",
		`wsproxy_raw_connections_ended_total{reason="eof"} 1`,
		`wsproxy_raw_bytes_total{direction="in"} 5`,
		`wsproxy_raw_bytes_total{direction="out"} 6`,
		"wsproxy_jwks_fetches_total 7",
		"wsproxy_jwks_fetch_failures_total 2",
		"wsproxy_jwks_keys 4",
		"wsproxy_jwks_last_success_timestamp_seconds 1.5",
		"wsproxy_jwks_waiting_requests 5",
	} {
		if !strings.Contains(shown(), "\n"+line+"\n") {
			t.Errorf("/metrics doesn't say %s", line)
		}
	}
}

func TestServerHasBounds(t *testing.T) {
	if h := New().HTTP(); h.ReadHeaderTimeout != 10*time.Second {
		t.Errorf("a header has %v", h.ReadHeaderTimeout)
	}
}
