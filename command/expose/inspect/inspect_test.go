package inspect

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wsproxy/command/expose/tap"
)

const patience = 10 * time.Second

// A stage is a service behind a tap, which is looked at.
type stage struct {
	t      *testing.T
	store  *Store
	server *Server
	tap    *tap.Tap
	front  net.Listener
	client *http.Client
}

type stream struct{ *net.TCPConn }

func (s stream) Reset() error {
	_ = s.SetLinger(0)
	return s.Close()
}

func newStage(t *testing.T, service http.HandlerFunc) *stage {
	t.Helper()
	backend := httptest.NewServer(service)
	store := NewStore()
	server, warning, err := Listen("127.0.0.1:0", store)
	if err != nil || warning != "" {
		t.Fatal(err, warning)
	}
	host, port, _ := net.SplitHostPort(backend.Listener.Addr().String())
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, store: store, server: server, front: front,
		tap:    &tap.Tap{Service: &tap.Address{Name: "service", Host: host, Port: port}, Keeper: store, Counters: &tap.Counters{}},
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}},
	}
	server.Add("", s.tap)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			go s.tap.Serve(ctx, stream{c.(*net.TCPConn)})
		}
	}()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		cancel()
		_ = front.Close()
		server.Close()
		backend.Close()
	})
	return s
}

// ask asks the page's server.
func (s *stage) ask(method, path, body string, fields ...string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.server.URL()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	answer, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}

// outside sends a request through the tap.
func (s *stage) outside(method, path, body string) string {
	s.t.Helper()
	req, _ := http.NewRequest(method, "http://"+s.front.Addr().String()+path, strings.NewReader(body))
	req.Header.Set("Accept-Encoding", "gzip")
	answer, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return string(b)
}

// ended waits until a request has ended, and returns it.
func (s *stage) ended(id uint64) detail {
	s.t.Helper()
	changed, stop := s.store.watch()
	defer stop()
	for late := time.After(patience); ; {
		if x, ok := s.store.Get(id); ok && x.Ended {
			_, b := s.ask("GET", fmt.Sprintf("/api/requests/%d", id), "")
			var d detail
			if err := json.Unmarshal([]byte(b), &d); err != nil {
				s.t.Fatalf("%v: %s", err, b)
			}
			return d
		}
		select {
		case <-changed:
		case <-late:
			s.t.Fatalf("request %d has no end", id)
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Got", r.Header.Get("X-Sent"))
	if r.URL.Path == "/gzip" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		_, _ = io.WriteString(z, "unpacked")
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, b)
}

func TestDetailAndReplay(t *testing.T) {
	s := newStage(t, echo)
	s.outside("POST", "/a?b=c", "body")
	first := s.ended(1)
	if first.Method != "POST" || first.Path != "/a?b=c" || first.Status != 200 || first.Request.Body.Text != "body" || first.Answer.Body.Text != "POST /a?b=c body" || !first.Ended {
		t.Errorf("%+v", first)
	}
	if status, list := s.ask("GET", "/api/requests", ""); status != 200 || !strings.Contains(list, `"path":"/a?b=c"`) || !strings.Contains(list, `"contentType":"text/plain"`) {
		t.Errorf("%d %s", status, list)
	}
	for _, test := range []struct{ ask, want string }{
		{`{"id":1}`, "POST /a?b=c body"},
		{`{"id":1,"method":"PUT","path":"/x","body":"other"}`, "PUT /x other"},
		{`{"id":1,"body":"AAE=","bodyEncoding":"base64"}`, "POST /a?b=c \x00\x01"},
		{`{"id":1,"method":"GET","body":"","headers":[["Host","h"],["X-Sent","yes"],["Content-Length","99"]]}`, "GET /a?b=c "},
	} {
		status, b := s.ask("POST", "/api/replay", test.ask, "Content-Type", "application/json")
		var got struct{ ID uint64 }
		if err := json.Unmarshal([]byte(b), &got); status != 200 || err != nil {
			t.Errorf("%s: %d %s", test.ask, status, b)
			continue
		}
		d := s.ended(got.ID)
		x, _ := s.store.Get(got.ID)
		if string(x.AnswerBody) != test.want || !d.Replayed {
			t.Errorf("%s: %q, %+v", test.ask, x.AnswerBody, d)
		}
		if strings.Contains(test.ask, "X-Sent") && get(d.Answer.Headers, "X-Got") != "yes" {
			t.Errorf("%+v", d.Answer.Headers)
		}
	}
	s.outside("GET", "/gzip", "")
	if d := s.ended(6); d.Answer.Body.Text != "unpacked" || d.Answer.Body.Decoded != "gzip" {
		t.Errorf("%+v", d.Answer)
	}
}

func TestReplayErrors(t *testing.T) {
	s := newStage(t, echo)
	s.outside("POST", "/", strings.Repeat("x", 100_000))
	if d := s.ended(1); !d.Request.Body.Cut || d.Request.Body.Bytes != 64<<10 || !d.Answer.Body.Cut {
		t.Errorf("%+v", d.summary)
	}
	const json = "application/json"
	for _, test := range []struct {
		kind, ask string
		status    int
		want      string
	}{
		{json, `{"id":1}`, 409, "replay it edited"},
		{json, `{"id":9}`, 404, "no such request"},
		{json, `{"id":1,"other":2}`, 400, "other"},
		{json, `{"id":1,"body":"","method":"G T"}`, 400, "no method"},
		{json, `{"id":1,"body":"","path":"x"}`, 400, "begins with /"},
		{json, `{"id":1,"body":"","path":"/a b"}`, 400, "blanks"},
		{json, `{"id":1,"body":"","path":"/a\r\nX: y"}`, 400, "blanks"},
		{json, `{"id":1,"body":"","headers":[]}`, 400, "one Host"},
		{json, `{"id":1,"body":"","headers":[["Host","x"],["A\r\nB","c"]]}`, 400, "no name"},
		{json, `{"id":1,"body":"","headers":[["Host","x"],["A","c\r\nB: d"]]}`, 400, "control characters"},
		{json, `{"id":1,"body":"?","bodyEncoding":"base64"}`, 400, "no base64"},
		{"text/plain", `{"id":1}`, 415, "application/json"},
	} {
		if status, b := s.ask("POST", "/api/replay", test.ask, "Content-Type", test.kind); status != test.status || !strings.Contains(b, test.want) {
			t.Errorf("%s: %d %s", test.ask, status, b)
		}
	}
}

// Other pages in the user's browser reach nothing.
func TestGuard(t *testing.T) {
	s := newStage(t, echo)
	own := strings.TrimPrefix(s.server.URL(), "http://")
	_, port, _ := net.SplitHostPort(own)
	for _, test := range []struct {
		method, path string
		fields       []string
		status       int
	}{
		{"GET", "/", nil, 200},
		{"GET", "/", []string{"Host", "localhost:" + port}, 200},
		{"GET", "/", []string{"Host", "[::1]:" + port}, 200},
		{"GET", "/", []string{"Host", "evil.test:" + port}, 421},
		{"GET", "/", []string{"Host", "localhost.evil.test:" + port}, 421},
		{"GET", "/", []string{"Host", "localhost"}, 421},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		{"GET", "/api/requests", nil, 200},
		{"GET", "/api/requests", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", "/api/requests", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", "/api/requests", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", "/api/requests", []string{"Origin", "http://evil.test"}, 403},
		{"POST", "/api/clear", []string{"Origin", "http://" + own}, 200},
		{"POST", "/api/clear", []string{"Origin", "http://localhost:1"}, 403},
		{"POST", "/api/clear", []string{"Origin", "null"}, 403},
		{"POST", "/api/clear", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{"GET", "/none", nil, 404},
	} {
		if status, b := s.ask(test.method, test.path, "", test.fields...); status != test.status {
			t.Errorf("%s %s %q: %d %s", test.method, test.path, test.fields, status, b)
		}
	}
	answer, err := s.client.Get(s.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if p := answer.Header.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Error(p)
	}
	for _, outside := range []string{"http://", "https://", "//cdn", "@import"} {
		if strings.Contains(string(page), outside) {
			t.Errorf("the page has %s in it", outside)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	if _, _, err := Listen("127.0.0.1", NewStore()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:4040") {
		t.Error(err)
	}
	s, warning, err := Listen(":0", NewStore())
	if err != nil || warning != "" || !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Fatal(err, warning)
	}
	s.Close()
	s, warning, err = Listen("0.0.0.0:0", NewStore())
	if err != nil || warning == "" {
		t.Fatal(err, "no warning")
	}
	s.Close()
}

func TestEvents(t *testing.T) {
	s := newStage(t, echo)
	answer, err := s.client.Get(s.server.URL() + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for sent := false; lines.Scan(); {
		if !sent {
			sent = true
			s.outside("GET", "/seen", "")
		}
		if strings.Contains(lines.Text(), `"path":"/seen"`) && strings.Contains(lines.Text(), `"ended":true`) {
			return
		}
	}
	t.Fatal("the request was not told of", lines.Err())
}

// Neither requests nor bytes grow without bound.
func TestStoreBounds(t *testing.T) {
	s := NewStore()
	for id := uint64(1); id <= 1000; id++ {
		x := tap.Exchange{ID: id, Kept: &tap.Kept{}}
		s.Begins(x)
		if id%2 == 0 {
			x.Ended = true
			s.Ends(&x)
		}
	}
	all, changes := s.Since(0)
	if len(all) != MaxRequests || changes != 1500 {
		t.Errorf("%d are kept, %d changes", len(all), changes)
	}
	if !s.Grow(maxHeld) || s.Grow(1) {
		t.Error("the bound of bytes does not hold")
	}
}

// A lot of large bodies stay within the bound, and the newest are kept.
func TestHeldBytes(t *testing.T) {
	s := newStage(t, echo)
	body := strings.Repeat("x", 80_000)
	const n = 300 // of some 140 kB each
	for range n {
		s.outside("POST", "/", body)
	}
	if d := s.ended(n); !d.Kept || d.Request.Body.Bytes != 64<<10 {
		t.Errorf("the newest is %+v", d.summary)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	sum := 0
	for _, e := range s.store.entries {
		sum += e.x.Held()
	}
	if s.store.held != sum || sum > maxHeld {
		t.Errorf("%d are counted, %d are held", s.store.held, sum)
	}
}
