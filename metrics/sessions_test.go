package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

// constants returns the values of the constants of a file of package messages, in those
// blocks whose comment begins so.
func constants(t *testing.T, file string, blocks ...string) (values []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../messages/"+file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST || !slices.ContainsFunc(blocks, func(b string) bool { return strings.HasPrefix(block.Doc.Text(), b) }) {
			continue
		}
		for _, spec := range block.Specs {
			for _, v := range spec.(*ast.ValueSpec).Values {
				value, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
	}
	return values
}

// Each reason that a session can end for has its series before it has happened.
func TestEveryEndIsThereFromTheStart(t *testing.T) {
	sessions := constants(t, "reason.go", "Reasons that a session ends for")
	if len(sessions) < 20 {
		t.Fatalf("messages has %d reasons that a session ends for", len(sessions))
	}
	for _, reason := range sessions {
		if reason == string(messages.ReasonClientLost) { // of a WebSocket that is lost, and not its session
			continue
		}
		if !slices.Contains(relayEnds(), reason) && !slices.Contains(tunnelEnds(), reason) {
			t.Errorf("neither relays nor tunnels are counted from the start that end for %s", reason)
		}
	}
	raw := constants(t, "close_reason.go", "The reasons of the proxy's tcp_close", "Reasons that are only for log", "CloseIdle is for log")
	for _, reason := range raw {
		if reason != string(messages.CloseUnknown) && !slices.Contains(rawEnds(), reason) {
			t.Errorf("no raw connections are counted from the start that end for %s", reason)
		}
	}
	if len(raw) < 12 {
		t.Errorf("messages has %d reasons that a raw connection ends for", len(raw))
	}
}

func TestWhatClientsWaitForIsShown(t *testing.T) {
	m := New()
	m.LookedUp(20*time.Millisecond, false)
	m.LookedUp(time.Second, true)
	m.Dialed(300*time.Millisecond, "")
	m.Dialed(10*time.Second, messages.ReasonTargetUnreachable)
	m.ShookHands("relay", 2*time.Millisecond)
	m.Answered("http", 200, 100*time.Millisecond, 2*time.Second)
	m.Answered("http", 101, 100*time.Millisecond, time.Hour)
	m.Answered("http", 0, 0, time.Second)
	m.Answered("relay", 101, time.Millisecond, time.Millisecond)
	m.Answered("own", 404, 0, 0)
	free := m.WatchPorts(9)
	free(4)
	count := m.WatchAuthentication([]string{"ok", "expired"})
	count("ok")
	m.WatchTunnelBuffer(func() int64 { return 11 })
	m.WatchServer("1.2", func() bool { return true }, func() int { return 12 })
	m.WatchLimits(func() []Limit { return []Limit{{"MAX_X", 5, ""}, {"Y", 6, "bytes"}, {"Z", 0.5, "seconds"}} })
	answer := httptest.NewRecorder()
	m.HTTP().Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`wsproxy_lookup_seconds_bucket{outcome="ok",le="0.025"} 1`,
		`wsproxy_lookup_seconds_count{outcome="refused"} 1`,
		`wsproxy_dial_seconds_bucket{outcome="ok",le="0.5"} 1`,
		`wsproxy_dial_seconds_sum{outcome="target_unreachable"} 10`,
		`wsproxy_dial_seconds_count{outcome="target_blocked"} 0`,
		`wsproxy_handshake_seconds_count{endpoint="relay"} 1`,
		`wsproxy_handshake_seconds_count{endpoint="tunnel"} 0`,
		`wsproxy_tunnel_http_first_byte_seconds_count 2`,
		`wsproxy_tunnel_http_seconds_sum 2`,
		`wsproxy_http_responses_total{class="2xx",endpoint="http"} 1`,
		`wsproxy_http_responses_total{class="1xx",endpoint="http"} 1`,
		`wsproxy_http_responses_total{class="aborted",endpoint="http"} 1`,
		`wsproxy_http_responses_total{class="5xx",endpoint="http"} 0`,
		`wsproxy_http_responses_total{class="1xx",endpoint="relay"} 1`,
		`wsproxy_http_responses_total{class="4xx",endpoint="own"} 1`,
		`wsproxy_raw_ports 9`, `wsproxy_raw_ports_free 4`,
		`wsproxy_authentications_total{outcome="ok"} 1`, `wsproxy_authentications_total{outcome="expired"} 0`,
		`wsproxy_tunnel_buffer_bytes 11`, `wsproxy_draining 1`, `wsproxy_http_connections 12`,
		`wsproxy_limit{variable="MAX_X"} 5`, `wsproxy_limit_bytes{variable="Y"} 6`, `wsproxy_limit_seconds{variable="Z"} 0.5`,
	} {
		if !strings.Contains(answer.Body.String(), "\n"+line+"\n") {
			t.Errorf("/metrics doesn't say %s", line)
		}
	}
}
