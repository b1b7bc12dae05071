package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const gosshLarge = 5 << 20

func TestGosshAnswers(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	for path, want := range map[string]string{
		"/text?n=0":               "",
		"/text?n=1":               "g",
		"/text?n=1000":            gosshText(1000),
		"/text?n=5242880":         gosshText(gosshLarge),
		"/binary?n=1000":          gosshBinary(1000),
		"/binary?n=5242880":       gosshBinary(gosshLarge),
		"/chunks?n=1000":          gosshText(1000),
		"/chunks?n=5242880":       gosshText(gosshLarge),
		"/binarychunks?n=10000":   gosshBinary(10_000),
		"/binarychunks?n=1000000": gosshBinary(1_000_000),
		"/eof?n=300000":           gosshText(300_000),
	} {
		if err := r.get(path, nil, want); err != nil {
			t.Error(err)
		}
	}
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
		status       int
		length       int64
	}{
		"head":         {"HEAD", "/text?n=70000", nil, 200, 70_000},
		"not modified": {"GET", "/text?n=70000", http.Header{"If-None-Match": {`"same"`}}, 304, -1},
		"not found":    {"GET", "/nothing", nil, 404, 19},
	} {
		reply, err := r.ask(test.method, test.path, test.header, "")
		if err != nil || reply.status != test.status || test.length >= 0 && reply.length != test.length {
			t.Errorf("%s: %d, length %d, %v", name, reply.status, reply.length, err)
		}
		if test.status < 400 && reply.header.Get("Etag") != `"same"` {
			t.Errorf("%s: the headers are %v", name, reply.header)
		}
	}
	// What was damaged on its way must not look whole.
	if reply, err := r.ask("GET", "/short?n=1000", nil, ""); err != nil || reply.status != 502 {
		t.Errorf("a body that is too short: %d, %v", reply.status, err)
	}
	// What only this client damages comes in another way, but nothing is asked
	// twice that may not be.
	if err := r.get("/latin1?n=6000", nil, strings.Repeat("gr\xfc\xdfe ", 1000)); err != nil {
		t.Error(err)
	}
	if reply, err := r.ask("POST", "/latin1?n=7000", nil, "x"); err != nil || reply.status != 502 || len(r.web.asked("/latin1?n=7000")) != 1 {
		t.Errorf("a text that is not UTF-8, for POST: %d, asked %d times, %v", reply.status, len(r.web.asked("/latin1?n=7000")), err)
	}
	r.check(t)
}

// A chunk may end within a character. Then the double can't say in a JSON
// string what it got, and the answer must come in another way.
func TestGosshSplitCharacters(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	if err := r.get("/chunks?within&n=300000", nil, gosshText(300_000)); err != nil {
		t.Error(err)
	}
	r.check(t)
}

// A client that takes gzip gets the right answer, and http_request never asks
// for gzip.
func TestGosshGzip(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	for _, accept := range []string{"", "text/event-stream"} {
		header := http.Header{"Accept-Encoding": {"gzip"}}
		if accept != "" {
			header.Set("Accept", accept)
		}
		reply, err := r.ask("GET", "/gzip?n=300000", header, "")
		if err != nil || reply.status != 200 {
			t.Fatalf("Accept %q: %d, %v", accept, reply.status, err)
		}
		body := reply.body
		if reply.header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatalf("Accept %q: %v", accept, err)
			}
			plain, err := io.ReadAll(z)
			if err != nil {
				t.Errorf("Accept %q: %v", accept, err)
			}
			body = string(plain)
		} else if accept != "" {
			t.Error("as bytes the answer is not compressed")
		}
		if body != gosshText(300_000) {
			t.Errorf("Accept %q: %d bytes come, not 300000", accept, len(body))
		}
	}
	for _, e := range r.c.requested("/gzip?n=300000") {
		if value, ok := e.m.Headers["Accept-Encoding"]; ok {
			t.Errorf("http_request asks for %q", value)
		}
	}
	r.check(t)
}

// TUNNEL_CONTROL_FRAMES says it for clients that ask for nothing.
func TestGosshByDefault(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_CONTROL_FRAMES=gossh")
	r, err := gosshOpenAs(t, s, "", gosshScript{habits: gosshWasm()}, 2*patience)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := gosshOpenAs(t, s, "", gosshScript{habits: gosshWasm(), service: echoServer(t).String()}, 2*patience)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		r.get("/text?n=10000", nil, gosshText(10_000)), r.post("POST", nil, gosshBinary(10_000)), raw.echo(t, 100_000, "", false),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	r.check(t)
	raw.check(t)
}

func TestGosshManyAtOnce(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	var running sync.WaitGroup
	for i := range 40 {
		n := 10_000 + 997*i
		running.Go(func() {
			var err error
			switch i % 5 {
			case 0:
				err = r.get(fmt.Sprintf("/text?n=%d", n), nil, gosshText(n))
			case 1:
				err = r.get(fmt.Sprintf("/binary?n=%d", 10*n), nil, gosshBinary(10*n))
			case 2:
				err = r.get(fmt.Sprintf("/binary?n=%d", n), asStream(), gosshBinary(n))
			case 3:
				err = r.post("POST", nil, gosshBinary(n))
			case 4:
				err = r.post("PUT", nil, gosshText(10*n))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	r.check(t)
}

// Bodies of all sizes and kinds reach a service that is particular about what
// it reads.
func TestGosshBodies(t *testing.T) {
	t.Parallel()
	strict := gosshStrictServer(t, false)
	r := gosshOpen(t, tunnelServer(t, "TUNNEL_MAX_BODY=2MiB"), gosshScript{service: strict.addr, opening: gosshOpening / 5})
	bodies := []string{"x", strings.Repeat("\x01", 20_000), strings.Repeat(`"\`, 30_000), gosshText(2 << 20), gosshBinary(2 << 20)}
	for _, n := range []int{15, 30_000, 1 << 20} {
		bodies = append(bodies, gosshText(n), gosshBinary(n))
	}
	for n := 64_000; n <= gosshMessage+100; n += 150 { // as large as a message may be, more or less
		bodies = append(bodies, strings.Repeat("b", n))
	}
	for _, body := range bodies {
		if err := r.post("POST", http.Header{"Content-Type": {"text/plain"}}, body); err != nil {
			t.Error(err)
		}
	}
	// Not announced, and announced with a question.
	for _, body := range []string{gosshText(30_000), gosshBinary(30_000), gosshText(300_000)} {
		reply, err := tunnelAsk(r.outside, r.s, "PUT", r.c.host, "/sum", nil, struct{ io.Reader }{strings.NewReader(body)})
		if err != nil || reply.body != gosshSum("PUT", body) {
			t.Errorf("a chunked body of %d bytes: %d, %.60q, %v", len(body), reply.status, reply.body, err)
		}
		if err := r.post("POST", http.Header{"Expect": {"100-continue"}}, body); err != nil {
			t.Error(err)
		}
	}
	// Headers that fill a message, too.
	for _, n := range []int{20_000, 30_000, 50_000} {
		header := http.Header{"X-Quotes": {strings.Repeat(`"`, n/2)}, "X-Long": {strings.Repeat("h", n/2)}}
		if reply, err := r.ask("GET", "/", header, ""); err != nil || reply.body != gosshSum("GET", "") {
			t.Errorf("headers of %d bytes: %d, %.60q, %v", n, reply.status, reply.body, err)
		}
	}
	for _, body := range []string{gosshText(2<<20 + 1), gosshBinary(2<<20 + 1)} {
		if reply, err := r.ask("POST", "/sum", nil, body); err != nil || reply.status != 413 {
			t.Errorf("a body that is too large: %d, %v", reply.status, err)
		}
	}
	if wrong := strict.wrong(); len(wrong) > 0 {
		t.Errorf("the service got what was no request: %q", wrong)
	}
	r.check(t)
}

// As bytes or not, the same headers pass, either way.
func TestGosshHeaders(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	header := http.Header{
		"Cookie": {"a=1"}, "Authorization": {"Bearer x"}, "X-Csrf-Token": {"c"}, "Connection": {"X-Named"}, "X-Named": {"1"},
		"Te": {"trailers"}, "X-Forwarded-For": {"198.51.100.1"}, "X-Forwarded-Proto": {"https"}, "X-Twice": {"1", "2"}, "X-Utf8": {"grüße"},
		"User-Agent": {"test/1"}, "Proxy-Connection": {"keep-alive"}, "Keep-Alive": {"timeout=5"},
	}
	var got [2]map[string][]string
	for i, method := range []string{"GET", "PUT"} {
		body := ""
		if method == "PUT" {
			body = gosshBinary(1000)
		}
		reply, err := r.ask(method, "/headers", header, body)
		if err != nil || reply.status != 200 {
			t.Fatalf("%s: %d, %v", method, reply.status, err)
		}
		if err := json.NewDecoder(bytes.NewBufferString(reply.body)).Decode(&got[i]); err != nil {
			t.Fatalf("%s: %v: %q", method, err, reply.body)
		}
		for _, name := range []string{"Set-Cookie", "Strict-Transport-Security", "Keep-Alive"} {
			if value, ok := reply.header[name]; ok {
				t.Errorf("%s: the outside gets %s: %q", method, name, value)
			}
		}
		if reply.header.Get("X-Passed") != "yes" {
			t.Errorf("%s: the outside gets %v", method, reply.header)
		}
		// Framing is the transport's, and differs; so does whether trailers pass.
		for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Te"} {
			delete(got[i], name)
		}
		for _, values := range got[i] {
			values[0] = strings.Join(values, ", ")
		}
	}
	if len(r.c.requested("/headers")) != 1 || r.inBytes("/headers") != 1 {
		t.Errorf("of two requests %d came as bytes", r.inBytes("/headers"))
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": r.c.host,
		"X-Twice": "1, 2", "X-Utf8": "grüße", "User-Agent": "test/1",
	} {
		for i := range got {
			if values := got[i][name]; len(values) == 0 || values[0] != want {
				t.Errorf("request %d: %s is %q", i, name, values)
			}
		}
	}
	for i, other := range []int{1, 0} {
		for name := range got[i] {
			if _, ok := got[other][name]; !ok {
				t.Errorf("%s came with request %d only: %q", name, i, got[i][name])
			}
		}
	}
	r.check(t)
}
