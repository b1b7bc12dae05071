package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// The service gets the target as it was sent, in the one form that it expects, and no
// request that would make a connection something else.
func TestBytesTargets(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"GET /?":                "GET /?",
		"GET //a//b/./../c":     "GET //a//b/./../c",
		"GET /%2e%2e/%41?%20+&": "GET /%2e%2e/%41?%20+&",
		"GET /a;b=c?d=/e?f#g":   "",
		"GET http://HOST/a?b":   "GET /a?b",
		"GET http://HOST":       "GET /",
		"OPTIONS *":             "OPTIONS *",
		"PATCH /":               "PATCH /",
		"M-SEARCH /":            "M-SEARCH /",
		"CONNECT HOST:80":       "",
		"CONNECT /":             "",
		"GET a":                 "",
	} {
		t.Run(sent, func(t *testing.T) {
			t.Parallel()
			got := make(chan strictRequest, 4)
			r := newBytesRigTo(t, strictService(t, got, okAnswer), "")
			wire := r.wire(t)
			wire.say(t, strings.ReplaceAll(sent, "HOST", r.c.host)+" HTTP/1.1", "Host: "+r.c.host, "Connection: close")
			response, err := http.ReadResponse(wire.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				if strings.HasPrefix(sent, "CONNECT") && response.StatusCode < 400 {
					t.Errorf("the answer is %d", response.StatusCode)
				}
				for len(got) > 0 {
					if r := <-got; r.err != nil || strings.HasPrefix(r.line, "CONNECT") {
						t.Errorf("the service gets %q, %v", r.line, r.err)
					}
				}
				return
			}
			if request := <-got; request.line != want+" HTTP/1.1\r\n" || request.err != nil || response.StatusCode != 200 {
				t.Errorf("%d: the service gets %q, %v", response.StatusCode, request.line, request.err)
			}
		})
	}
}

// Heads of any length that passes at all do so whole: those of requests, and those of
// answers.
func TestBytesLongHeads(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 150 {
			w.Header().Set(fmt.Sprint("X-", i), r.Header.Get(fmt.Sprint("X-", i)))
		}
		_, _ = io.WriteString(w, "ok")
	}))
	lines := []string{}
	for i := range 150 {
		lines = append(lines, fmt.Sprintf("X-%d: %s", i, strings.Repeat(string(rune('a'+i%26)), 380)))
	}
	for range 3 {
		reply := r.get(t, "/", lines...)
		if reply.status != 200 || reply.header.Get("X-149") != strings.Repeat(string(rune('a'+149%26)), 380) || len(reply.header) < 150 {
			t.Errorf("%d, %d fields", reply.status, len(reply.header))
		}
	}
}

// Services of every habit behind one tunnel, asked by many at once: each gets the answer
// to what it has asked, and nobody an error.
func TestBytesEveryHabit(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		habit := r.URL.Query().Get("habit")
		switch habit {
		case "close":
			w.Header().Set("Connection", "close")
		case "early": // the answer comes before the body, which is left
			_ = control.EnableFullDuplex()
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, r.URL.Path)
			return
		case "until the end":
			conn, out, err := control.Hijack()
			if err != nil {
				return
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(out, "HTTP/1.0 200 OK\r\n\r\n%s%s", r.URL.Path, body)
			_ = out.Flush()
			conn.Close()
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.URL.Path)
		if habit == "chunks" {
			_ = control.Flush()
		}
		_, _ = w.Write(body)
	}), "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_HTTP_PER_IP=0")
	habits := []string{"", "close", "early", "chunks", "until the end"}
	var all sync.WaitGroup
	for worker := range 12 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range 60 {
				habit := habits[random.IntN(len(habits))]
				path := fmt.Sprintf("/%d/%d", worker, i)
				query := "?habit=" + strings.ReplaceAll(habit, " ", "+")
				method, body := "GET", ""
				if random.IntN(2) == 0 {
					method, body = "POST", strings.Repeat("b", random.IntN(100_000))
				}
				want := path + body
				if habit == "early" {
					want = path
				}
				reply, err := tunnelAsk(r.client, r.s, method, r.c.host, path+query, nil, strings.NewReader(body))
				if err != nil || reply.status != 200 || reply.body != want {
					t.Errorf("%s %s, %q with %d bytes: %d %.60q of %d bytes, %v", method, path, habit, len(body), reply.status, reply.body, len(reply.body), err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("over %d connections", r.c.opened())
}
