package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"wsproxy/config"
)

// serve runs handler on address until the test ends and returns its port.
func serve(t *testing.T, address string, handler http.HandlerFunc) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return portOf(listener)
}

func portOf(listener net.Listener) uint16 {
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// answer is a server that says one thing at /health and 404 elsewhere.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/health" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func checkHealth(t *testing.T, c config.Config, wantExit int, wantSentence string) {
	t.Helper()
	var out strings.Builder
	exit := healthcheck(t.Context(), c, &out)
	if exit != wantExit {
		t.Errorf("exit status %d, want %d (%s)", exit, wantExit, &out)
	}
	if !strings.Contains(out.String(), wantSentence) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("it said %q, want one line with %q", out.String(), wantSentence)
	}
}

func TestHealthcheckOK(t *testing.T) {
	for _, test := range []struct{ listen, bind string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"127.0.0.1:0", ""},
		{"127.0.0.1:0", "0.0.0.0"},
		{"127.0.0.1:0", "::"},
		{"[::1]:0", "::1"},
		{"[::1]:0", "::"},
		{"[::1]:0", ""},
		{"localhost:0", "localhost"},
	} {
		for _, body := range []string{"ok", "ok\n"} {
			port := serve(t, test.listen, answer(http.StatusOK, body))
			checkHealth(t, config.Config{Bind: test.bind, Port: port}, 0, "ok")
		}
	}
}

func TestHealthcheckIgnoresProxyOfEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	port := serve(t, "127.0.0.1:0", answer(http.StatusOK, "ok"))
	checkHealth(t, config.Config{Port: port}, 0, "ok")
}

func TestHealthcheckDraining(t *testing.T) {
	port := serve(t, "127.0.0.1:0", answer(http.StatusServiceUnavailable, "draining"))
	checkHealth(t, config.Config{Port: port}, 1, `answered 503 Service Unavailable with "draining"`)
}

func TestHealthcheckOfAnotherServer(t *testing.T) {
	t.Run("other body", func(t *testing.T) {
		port := serve(t, "127.0.0.1:0", answer(http.StatusOK, strings.Repeat("welcome ", 1<<16)))
		checkHealth(t, config.Config{Port: port}, 1, `answered 200 OK with "welcome`)
	})
	t.Run("redirect", func(t *testing.T) {
		port := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				http.Redirect(w, r, "/login", http.StatusFound)
				return
			}
			fmt.Fprint(w, "ok")
		})
		checkHealth(t, config.Config{Port: port}, 1, "answered 302 Found")
	})
	t.Run("answer breaks off", func(t *testing.T) {
		port := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "200")
			fmt.Fprint(w, "ok")
		})
		checkHealth(t, config.Config{Port: port}, 1, "broke off its answer")
	})
}

func TestHealthcheckNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(listener)
	listener.Close()
	checkHealth(t, config.Config{Port: port}, 1, "connection refused")
}

func TestHealthcheckPortUnknown(t *testing.T) {
	checkHealth(t, config.Config{Port: 0}, 1, "PORT is 0")
}

// TestHealthcheckHangs waits the real timeout once: it is what keeps a
// supervisor's checks from piling up.
func TestHealthcheckHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	// The kernel completes the handshake, and nobody ever answers.
	checkHealth(t, config.Config{Bind: "127.0.0.1", Port: portOf(listener)}, 1, "gave no answer in time (3s)")
}

func TestHealthcheckCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if exit := healthcheck(ctx, config.Config{Bind: "127.0.0.1", Port: 1}, &out); exit != 1 {
		t.Errorf("exit status %d, want 1 (%s)", exit, &out)
	}
}

func TestProbeAddrs(t *testing.T) {
	for bind, want := range map[string][]string{
		"":             {"127.0.0.1:80", "[::1]:80"},
		"0.0.0.0":      {"127.0.0.1:80", "[::1]:80"},
		"::":           {"[::1]:80", "127.0.0.1:80"},
		"192.0.2.1":    {"192.0.2.1:80"},
		"2001:db8::1":  {"[2001:db8::1]:80"},
		"fe80::1%eth0": {"[fe80::1%eth0]:80"},
		"localhost":    {"localhost:80"},
	} {
		if got := probeAddrs(bind, 80); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", bind, got, want)
		}
	}
}
