package expose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	wsproxy "wsproxy/client/go"
	"wsproxy/command/cli"
)

func service(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s says hello, %q", r.Host, r.Header.Get("Authorization"))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestExpose(t *testing.T) {
	at := service(t)
	folder := t.TempDir()
	_ = os.WriteFile(filepath.Join(folder, "a.txt"), []byte("a file"), 0o600)
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{"web=" + at, "files=" + folder, "db=tcp:" + at}, HostHeader: "inside:1", ProxyProtocol: ""})
	tunnels := map[string]*fakeTunnel{}
	for range 3 {
		f := server.next()
		tunnels[f.request.Name] = f
	}
	web, files, db := tunnels["web"], tunnels["files"], tunnels["db"]
	if web.request.HostHeader != "inside:1" || web.request.Raw || !db.request.Raw || db.request.HostHeader != "" {
		t.Errorf("asked for %+v and %+v", web.request, db.request)
	}
	if code, body := get(t, web.http, "/x"); code != 200 || !strings.Contains(body, "says hello") {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, files.http, "/a.txt"); code != 200 || body != "a file" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, db.raw, "/y"); code != 200 || !strings.Contains(body, "says hello") {
		t.Errorf("%d %q", code, body)
	}
	for _, line := range []string{
		"web    https://websub.test  ->  " + at, "db     tcp://sub.test:10042  ->  tcp:" + at,
		"web    200  GET     /x ", "files  200  GET     /a.txt ", "db     tcp          127.0.0.1:",
	} {
		r.out.wait(t, line)
	}
	r.stop()
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// A tunnel that ends is opened anew; one whose name somebody else has taken is not.
func TestAgainAndReplaced(t *testing.T) {
	at := service(t)
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{at}})
	first := server.next()
	server.errs <- &wsproxy.RefusedError{Status: 503, Sentence: "draining"}
	first.end(&wsproxy.CloseError{Code: 1001, Reason: "restart"})
	second := server.next()
	r.err.wait(t, "draining; trying again")
	r.err.wait(t, "the tunnel is there again")
	if code, _ := get(t, second.http, "/"); code != 200 {
		t.Error(code)
	}
	second.end(fmt.Errorf("it was: %w", wsproxy.ErrReplaced))
	if err := r.end(); status(err) != StatusReplaced || !strings.Contains(err.Error(), "taken the name") {
		t.Error(err)
	}
	if n := strings.Count(r.out.String(), "->"); n != 1 {
		t.Errorf("the same address was written %d times", n)
	}
}

// What becomes of the connection to the server is told each time: else the last word
// would be that it is lost.
func TestLostTwice(t *testing.T) {
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{service(t)}})
	request := server.next().request
	for range 2 {
		request.OnDetached(errors.New("cut"))
		for range 3 {
			request.OnRetry(errors.New("no network"))
		}
		request.OnResumed(2 * time.Second)
	}
	r.stop()
	if err := r.end(); err != nil {
		t.Error(err)
	}
	want := strings.Repeat("the connection to the server was lost (cut); taking it up again\nit can't be taken up yet: no network\n"+
		"the connection is there again after 2s, and nothing was lost\n", 2)
	if got := r.err.String(); got != want {
		t.Errorf("%q", got)
	}
}

// A service that is down is told once: by the line of the request, or where there is none
// by a notice.
func TestDownIsToldOnce(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	_ = free.Close()
	for _, quiet := range []bool{false, true} {
		server := newFakeServer(t)
		r := start(t, server, Options{Targets: []string{at}, Quiet: quiet})
		if code, _ := get(t, server.next().http, "/"); code != 502 {
			t.Error(code)
		}
		r.stop()
		if err := r.end(); err != nil {
			t.Error(err)
		}
		out, notices := strings.Count(r.out.String(), "nothing listens"), strings.Count(r.err.String(), "nothing listens")
		if quiet != (notices == 1) || quiet == (out == 1) {
			t.Errorf("quiet=%t: %q, %q", quiet, r.out.String(), r.err.String())
		}
	}
}

// A port alone is one of this machine, as it is for connect -L.
func TestInspectPort(t *testing.T) {
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{service(t)}, Inspect: "0"})
	server.next()
	r.err.wait(t, "requests are shown at http://127.0.0.1:")
	r.stop()
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404} {
		server := newFakeServer(t)
		server.errs <- &wsproxy.RefusedError{Status: code, Sentence: "no"}
		if err := start(t, server, Options{Targets: []string{"3000"}}).end(); status(err) != StatusRefused {
			t.Errorf("%d: %v", code, err)
		}
	}
	for code, final := range map[int]bool{400: false, 401: true, 403: false, 404: false, 429: false, 502: false} {
		err := fmt.Errorf("it can't be: %w", &wsproxy.RefusedError{Status: code, RetryAfter: time.Minute})
		if v := judge(err, false, true); (v.end != nil) != final || v.after != time.Minute {
			t.Errorf("%d of a server that was there: %+v", code, v)
		}
	}
	if v := judge(&wsproxy.RefusedError{Status: 401}, true, false); v.end != nil {
		t.Error("401 with a fresh token each time is an end")
	}
}

func TestBasicAuth(t *testing.T) {
	at := service(t)
	file := filepath.Join(t.TempDir(), "users")
	_ = os.WriteFile(file, []byte("bob:hush\n"), 0o600)
	server := newFakeServer(t)
	start(t, server, Options{Targets: []string{at}, BasicAuthFile: file})
	f := server.next()
	if code, _ := get(t, f.http, "/"); code != 401 {
		t.Error(code)
	}
	if code, body := get(t, f.http, "/", "Authorization", "Basic Ym9iOmh1c2g="); code != 200 || !strings.Contains(body, `hello, ""`) {
		t.Errorf("%d %q", code, body)
	}
	stripping := newFakeServer(t)
	stripping.credentials = false
	if err := start(t, stripping, Options{Targets: []string{at}, BasicAuthFile: file}).end(); status(err) != StatusCredentials || !strings.Contains(err.Error(), "TUNNEL_FORWARD_CREDENTIALS") {
		t.Error(err)
	}
}

func TestProxyProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := newFakeServer(t)
	start(t, server, Options{Targets: []string{"tcp:" + l.Addr().String()}, ProxyProtocol: "v1"})
	c, err := net.Dial("tcp", server.next().raw)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_ = in.SetDeadline(time.Now().Add(patience))
	if b, _ := io.ReadAll(in); string(b) != fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", c.LocalAddr().(*net.TCPAddr).Port, l.Addr().(*net.TCPAddr).Port) {
		t.Errorf("%q", b)
	}
}

// Requests that are under way have a while when the user asks for the end.
func TestEndInOrder(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		fmt.Fprint(w, "whole")
	}))
	defer s.Close()
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{s.Listener.Addr().String()}})
	f := server.next()
	got := make(chan string, 1)
	go func() {
		_, body := get(t, f.http, "/")
		got <- body
	}()
	<-asked
	r.stop()
	r.err.wait(t, "under way (1)")
	close(answer)
	if body := <-got; body != "whole" {
		t.Errorf("%q", body)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// What can't be ended in order is reset, and the command does not end before the
// server has heard of it.
func TestEndByReset(t *testing.T) {
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{"3000"}})
	f := server.next()
	f.Tunnel.Err = func() error { return nil }
	f.Tunnel.Shutdown = func(context.Context) error {
		time.AfterFunc(200*time.Millisecond, func() { f.end(nil) })
		return context.DeadlineExceeded
	}
	r.out.wait(t, "https://sub.test") // it serves
	r.stop()
	if err := r.end(); err != nil {
		t.Error(err)
	}
	select {
	case <-f.done:
	default:
		t.Error("it has ended before the tunnel")
	}
}

func TestInspectPage(t *testing.T) {
	at := service(t)
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{at}, Inspect: "127.0.0.1:0"})
	f := server.next()
	get(t, f.http, "/seen")
	r.err.wait(t, "requests are shown at http://")
	_, page, _ := strings.Cut(r.err.String(), "http://")
	page = strings.TrimSpace(strings.SplitN(page, "\n", 2)[0])
	if code, body := get(t, page, "/api/requests"); code != 200 || !strings.Contains(body, "/seen") {
		t.Errorf("%d %q", code, body)
	}
}

func TestUsage(t *testing.T) {
	for want, o := range map[string]Options{
		"nothing to expose":          {},
		"NAME=TARGET":                {Targets: []string{"a=1", "b=2"}, Name: "c"},
		"a to z":                     {Targets: []string{"1"}, Name: "C"},
		"X-Forwarded-For":            {Targets: []string{"1"}, ProxyProtocol: "v1"},
		"v1 or v2":                   {Targets: []string{"tcp:1"}, ProxyProtocol: "3"},
		"open to everybody":          {Targets: []string{"tcp:1"}, BasicAuthFile: "x"},
		"such as localhost:5173":     {Targets: []string{"1"}, HostHeader: "a b"},
		"services that speak HTTP":   {Targets: []string{"tcp:1"}, Inspect: ":4040"},
		"can't be served":            {Targets: []string{"/nowhere/at/all"}},
		"--inspect is an address":    {Targets: []string{"1"}, Inspect: "127.0.0.1"},
		"of --basic-auth-file can't": {Targets: []string{"1"}, BasicAuthFile: "/nowhere/at/all"},
	} {
		err := Run(t.Context(), o, nil, false, Streams{Out: io.Discard, Err: io.Discard})
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Tries come less and less often, and the same is not said without end.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		r := &retry{say: func(s string) { said = append(said, s) }, name: "web"}
		began := time.Now()
		for range 40 {
			if !r.failed(t.Context(), verdict{says: "no"}) {
				t.Fatal("it gave up")
			}
		}
		if took := time.Since(began); took < 34*time.Minute || took > 45*time.Minute {
			t.Errorf("40 tries took %v", took)
		}
		if len(said) < 3 || len(said) > 5 || !strings.HasPrefix(said[0], "web: no; trying again in 1s") || !strings.Contains(said[1], "still so after 1") {
			t.Errorf("%q", said)
		}
		r.opened(true)
		if last := said[len(said)-1]; !strings.Contains(last, "there again, after") || !strings.HasSuffix(last, ", at another address") {
			t.Error(last)
		}
		// A tunnel that ends at once is no reason to begin anew.
		r.lived(time.Second)
		began = time.Now()
		r.failed(t.Context(), verdict{says: "no"})
		if took := time.Since(began); took < maxDelay {
			t.Errorf("tried again after %v", took)
		}
		r.lived(time.Hour)
		began = time.Now()
		r.failed(t.Context(), verdict{says: "no", after: 5 * time.Second})
		if took := time.Since(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("tried again after %v", took)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if r.failed(ended, verdict{}) {
			t.Error("it goes on")
		}
	})
}

// A server gives names to users alone, and does not say when it has ignored one.
func TestNameWithoutToken(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, environ := range [][]string{nil, {"WSPROXY_TOKEN=x"}} {
		var said strings.Builder
		status := cli.Execute(ended, Command, []string{"--name", "web", "ws://127.0.0.1:1", "3000"}, cli.Streams{Out: io.Discard, Err: &said, Environ: environ})
		if warned := strings.Contains(said.String(), "--name has no effect"); status != 0 || warned != (environ == nil) {
			t.Errorf("%q: status %d, %q", environ, status, said.String())
		}
	}
}

func TestBrowser(t *testing.T) {
	for _, address := range []string{"file:///etc/passwd", "javascript:x", "-x", "https://", "calc.exe"} {
		if name, _, err := browser("linux", address); err == nil {
			t.Errorf("%s is opened by %s", address, name)
		}
	}
	if name, args, err := browser("windows", "https://x.test/"); err != nil || name != "rundll32" || args[1] != "https://x.test/" {
		t.Error(name, args, err)
	}
}

// A deaf is an output that nobody reads.
type deaf struct{}

func (deaf) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}
}

// When nobody reads its lines any more it ends, in order.
func TestUnreadOutput(t *testing.T) {
	server := newFakeServer(t)
	ended := make(chan error, 1)
	go func() {
		ended <- Run(t.Context(), Options{Targets: []string{"3000"}, JSON: true}, server.open, false, Streams{Out: deaf{}, Err: newScreen()})
	}()
	f := server.next()
	select {
	case err := <-ended:
		if status(err) != 1 || !strings.Contains(err.Error(), "nobody reads") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(patience):
		f.end(wsproxy.ErrReplaced)
		t.Error("it goes on")
	}
	select {
	case <-f.done:
	default:
		t.Error("the tunnel was not ended")
	}
}
