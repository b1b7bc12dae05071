package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/config"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages/inspect"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

const token = "0123456789abcdef"

// An owner stands in for the actor that owns sessions.
type owner struct {
	sessions []inspect.Session
	silent   int  // sessions that never answer
	deaf     bool // it does not answer itself
}

func (o *owner) Receive(ctx actor.Context) {
	if o.deaf {
		return
	}
	switch m := ctx.Message().(type) {
	case *inspect.List:
		answers := make(chan inspect.Session, len(o.sessions))
		for _, s := range o.sessions {
			answers <- s
		}
		m.Answer <- inspect.Asked{Sessions: answers, Number: len(o.sessions) + o.silent, LeftOut: 3}
	case *inspect.Close:
		found := 0
		for _, s := range o.sessions {
			if s.ID == m.ID {
				found++
			}
		}
		m.Answer <- found
	}
}

// A rig is the endpoints, and what they were counted by.
type rig struct {
	http.Handler
	mu     sync.Mutex
	counts map[string]int
	lines  *testkit.Journal
}

func newRig(t testing.TB, relays, tunnels *owner) *rig {
	t.Helper()
	log, lines := testkit.NewJournal()
	r := &rig{counts: make(map[string]int), lines: lines}
	system := desk.NewSystem(t, slog.New(slog.DiscardHandler))
	spawn := func(o *owner) *actor.PID {
		return system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return o }))
	}
	o := Options{Token: token, Root: system.Root, Relays: spawn(relays), Version: "v1", Draining: func() bool { return true }, Log: log,
		Settings: func() []config.Setting {
			return []config.Setting{{Name: "ADMIN_TOKEN", Value: "a secret of 16 bytes", Set: true}}
		},
		Count: func(outcome string) { r.mu.Lock(); r.counts[outcome]++; r.mu.Unlock() }}
	if tunnels != nil {
		o.Tunnels = spawn(tunnels)
	}
	r.Handler = New(o)
	return r
}

// ask returns the answer to a request that has the token.
func (r *rig) ask(method, path string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	request.Header.Set("Authorization", "Bearer "+token)
	for _, e := range edit {
		e(request)
	}
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, request)
	return answer
}

var began = time.Now().Add(-time.Minute)

func relay(id string) inspect.Session {
	return inspect.Session{ID: id, Kind: inspect.Relay, User: "ann", Source: netip.MustParseAddr("192.0.2.7"), Target: "target:22", State: "relaying", Since: began}
}

func tunnel(subdomain string) inspect.Session {
	return inspect.Session{ID: subdomain, Kind: inspect.Tunnel, State: "ready", Since: began.Add(-time.Hour), Tunnel: &inspect.Part{Subdomain: subdomain}}
}

func list(t *testing.T, answer *httptest.ResponseRecorder) (all inspect.Answer) {
	t.Helper()
	if answer.Code != 200 || answer.Header().Get("Content-Type") != "application/json" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("the answer is %d, %v, %s", answer.Code, answer.Header(), answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSessionsAreListed(t *testing.T) {
	r := newRig(t, &owner{sessions: []inspect.Session{relay("r1"), {}}}, &owner{sessions: []inspect.Session{tunnel("0123456789abcdef")}})
	all := list(t, r.ask("GET", "/debug/sessions"))
	if len(all.Sessions) != 2 || all.Sessions[0].Kind != "tunnel" || all.Sessions[1].ID != "r1" || all.LeftOut != 6 || all.Unanswered != 0 ||
		all.Version != "v1" || !all.Draining || all.Sessions[1].Age < 60 || all.Sessions[1].Age > 600 {
		t.Errorf("sessions are %+v", all)
	}
	if all = list(t, r.ask("GET", "/debug/tunnels")); len(all.Sessions) != 1 || all.Sessions[0].Tunnel.Subdomain != "0123456789abcdef" {
		t.Errorf("tunnels are %+v", all)
	}
	without := newRig(t, &owner{}, nil)
	if answer := without.ask("GET", "/debug/tunnels"); len(list(t, answer).Sessions) != 0 || !strings.Contains(answer.Body.String(), `"sessions":[]`) {
		t.Errorf("without tunnels the answer is %s", answer.Body)
	}
}

// A session that ends while it is asked holds nobody up for long, and an owner that is too
// busy is said to be.
func TestNobodyIsWaitedForLong(t *testing.T) {
	r := newRig(t, &owner{sessions: []inspect.Session{relay("r1")}, silent: 4}, &owner{sessions: []inspect.Session{tunnel("a")}})
	asked := time.Now()
	all := list(t, r.ask("GET", "/debug/sessions"))
	if len(all.Sessions) != 2 || all.Unanswered != 4 {
		t.Errorf("the answer is %+v", all)
	}
	if took := time.Since(asked); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	deaf := newRig(t, &owner{deaf: true}, nil)
	for _, answer := range []*httptest.ResponseRecorder{deaf.ask("GET", "/debug/sessions"), deaf.ask("POST", "/debug/sessions/r1/close")} {
		if answer.Code != 503 || !strings.Contains(answer.Body.String(), "in time") {
			t.Errorf("without an answer of the owner's it says %d %s", answer.Code, answer.Body)
		}
	}
	if deaf.counts[outcomeFailed] != 2 {
		t.Errorf("counted are %v", deaf.counts)
	}
}

func TestSessionsAreClosed(t *testing.T) {
	r := newRig(t, &owner{sessions: []inspect.Session{relay("r1")}}, &owner{sessions: []inspect.Session{tunnel("a"), tunnel("a")}})
	for _, test := range []struct {
		path   string
		status int
		says   string
	}{
		{"/debug/sessions/r1/close", 200, `{"id":"r1","closed":1}`},
		{"/debug/sessions/a/close", 200, `{"id":"a","closed":2}`},
		{"/debug/tunnels/a/close", 200, `{"id":"a","closed":2}`},
		{"/debug/tunnels/r1/close", 404, "no session of this id"},
		{"/debug/sessions/r2/close", 404, "no session of this id"},
		{"/debug/sessions/r%2F1/close", 404, "no id"},
		{"/debug/sessions/" + strings.Repeat("a", 65) + "/close", 404, "no id"},
	} {
		if answer := r.ask("POST", test.path); answer.Code != test.status || !strings.Contains(answer.Body.String(), test.says) {
			t.Errorf("%s: %d %s", test.path, answer.Code, answer.Body)
		}
	}
	if lines := r.lines.Of("closed by the operator"); len(lines) != 3 || lines[0].Fields["id"] != "r1" || lines[0].Fields["source"] != "192.0.2.1" {
		t.Errorf("logged is %v", lines)
	}
}

// Nobody sees or does anything without the token.
func TestTheTokenIsAskedFor(t *testing.T) {
	r := newRig(t, &owner{sessions: []inspect.Session{relay("r1")}}, nil)
	paths := []string{"/debug/sessions", "/debug/tunnels", "/debug/config", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/", "/debug/nothing"}
	wrong := map[string]string{
		"none": "", "another": "Bearer 0123456789abcdeF", "longer": "Bearer " + token + "0", "shorter": "Bearer " + token[1:],
		"Basic": "Basic " + token, "no scheme": token, "nothing": "Bearer ", "two": "Bearer " + token + " " + token,
	}
	n := 0
	for name, authorization := range wrong {
		for _, path := range paths {
			n++
			answer := r.ask("GET", path, func(request *http.Request) { request.Header.Set("Authorization", authorization) })
			if answer.Code != 401 || answer.Header().Get("WWW-Authenticate") != "Bearer" || !strings.Contains(answer.Body.String(), "ADMIN_TOKEN") {
				t.Errorf("%s, %s: %d %s", name, path, answer.Code, answer.Body)
			}
		}
	}
	if got := r.counts[outcomeUnauthorized]; got != n || len(r.counts) != 1 {
		t.Errorf("counted are %v, want %d", r.counts, n)
	}
	for _, line := range r.lines.All() {
		if line.Message != "admin request refused" || line.Fields["reason"] != "unauthorized" || line.Fields["source"] != "192.0.2.1" {
			t.Errorf("logged is %v", line)
		}
	}
	if answer := r.ask("GET", "/debug/config", func(request *http.Request) { request.Header.Set("Authorization", "bearer "+token) }); answer.Code != 200 {
		t.Errorf("the scheme in lower case is answered %d", answer.Code)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	r := newRig(t, &owner{sessions: []inspect.Session{relay("r1")}}, nil)
	for path, method := range map[string]string{
		"/debug/sessions": "GET", "/debug/tunnels": "GET", "/debug/config": "GET", "/debug/sessions/r1/close": "POST",
		"/debug/tunnels/r1/close": "POST", "/debug/pprof/": "GET", "/debug/pprof/symbol": "GET",
	} {
		for _, other := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "X"} {
			answer := r.ask(other, path)
			if other == method {
				continue
			}
			if answer.Code != 405 || answer.Header().Get("Allow") != method {
				t.Errorf("%s %s: %d, %v", other, path, answer.Code, answer.Header())
			}
			if answer.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s lets pages in", other, path)
			}
		}
	}
	if answer := r.ask("GET", "/debug/nothing"); answer.Code != 404 || !strings.Contains(answer.Body.String(), `"error"`) {
		t.Errorf("of what there is not: %d %s", answer.Code, answer.Body)
	}
	if answer := r.ask("GET", "/debug/pprof/goroutine?debug=1"); answer.Code != 200 || !strings.Contains(answer.Body.String(), "goroutine profile") {
		t.Errorf("a profile is %d %.200s", answer.Code, answer.Body)
	}
	for _, path := range []string{"profile?seconds=121", "trace?seconds=1e9", "heap?seconds=99999999999999999999", "profile?seconds=NaN", "trace?seconds=1e999", "profile?seconds=%2B500"} {
		if answer := r.ask("GET", "/debug/pprof/"+path); answer.Code != 400 || !strings.Contains(answer.Body.String(), "at most 120") {
			t.Errorf("%s is answered %d %.200s", path, answer.Code, answer.Body)
		}
	}
	if answer := r.ask("GET", "/debug/config"); !strings.Contains(answer.Body.String(), `{"name":"ADMIN_TOKEN","value":"a secret of 16 bytes","set":true}`) || strings.Contains(answer.Body.String(), token) {
		t.Errorf("settings are %s", answer.Body)
	}
}

// Beyond some answers that are being made, others are told to come again.
func TestAnswersAtOnceAreBounded(t *testing.T) {
	r := newRig(t, &owner{deaf: true}, nil)
	codes := make(chan int, 3*atOnce)
	for range cap(codes) {
		go func() { codes <- r.ask("GET", "/debug/sessions").Code }()
	}
	for range cap(codes) {
		if code := testkit.Receive(t, codes); code != 503 {
			t.Errorf("the answer is %d", code)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[outcomeFailed] == 0 || r.counts[outcomeFailed]+r.counts[outcomeRefused] != cap(codes) {
		t.Errorf("counted are %v", r.counts)
	}
}

// What serves metrics goes on to, and its requests are bounded.
func TestMountLeavesTheRest(t *testing.T) {
	r := newRig(t, &owner{}, nil)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }), ReadHeaderTimeout: time.Second}
	Mount(server, Options{Token: token, Count: func(string) {}, Log: slog.New(slog.DiscardHandler)})
	r.Handler = server.Handler
	if answer := r.ask("GET", "/metrics", func(request *http.Request) { request.Header.Del("Authorization") }); answer.Body.String() != "metrics" {
		t.Errorf("/metrics says %s", answer.Body)
	}
	if answer := r.ask("GET", "/debug/sessions", func(request *http.Request) { request.Header.Del("Authorization") }); answer.Code != 401 {
		t.Errorf("/debug/sessions says %d", answer.Code)
	}
	if server.WriteTimeout == 0 || server.IdleTimeout == 0 || server.MaxHeaderBytes == 0 {
		t.Error("a bound is missing")
	}
}

// Whatever is asked without the token is answered with 401, and with it never fails.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "/debug/sessions", "Bearer "+token)
	f.Add("POST", "/debug/sessions/r1/close", "Bearer "+token)
	f.Add("POST", "/debug/tunnels/..%2f/close", "bearer  "+token)
	f.Add("GET", "/debug/pprof/..", "")
	f.Add("GET", "/debug/config?x=%", "Bearer "+strconv.Quote(token))
	r := newRig(f, &owner{sessions: []inspect.Session{relay("r1")}}, nil)
	f.Fuzz(func(t *testing.T, method, path, authorization string) {
		request, err := http.NewRequest(method, "http://h/"+strings.TrimPrefix(path, "/"), nil)
		if err != nil || strings.Contains(path, "pprof") { // which may take its time
			return
		}
		request.Header.Set("Authorization", authorization)
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, request)
		scheme, rest, _ := strings.Cut(authorization, " ")
		if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(rest) != token {
			if answer.Code != 401 {
				t.Errorf("without the token %s %s is answered %d", method, path, answer.Code)
			}
			return
		}
		if answer.Code >= 500 && answer.Code != 503 {
			t.Errorf("%s %s is answered %d %s", method, path, answer.Code, answer.Body)
		}
	})
}
