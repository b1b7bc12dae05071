package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server that was killed and is back gives another address.
func TestExposeServerRestarts(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	e := expose(t, s, bytesService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "there") })))
	e.host(1)
	s.signal(syscall.SIGKILL)
	<-s.exited
	_, port, _ := strings.Cut(s.addr, ":")
	again := tunnelServer(t, "PORT="+port)
	host := e.host(2)
	if reply, err := tunnelAsk(tunnelHTTP(t), again, "GET", host, "/", nil, nil); err != nil || reply.body != "there" {
		t.Errorf("%v, %q", err, reply.body)
	}
	e.says("trying again in")
	e.says("the tunnel is there again")
}

// The latest has the name; the one before it ends with a status of its own.
func TestExposeReplaced(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publish("first")
	s := tunnelServer(t, "CLERK_JWKS_URL="+i.url, "TUNNEL_NAME_SECRET="+strings.Repeat("s", 32))
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(i.token(nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	service := bytesService(t, http.NotFoundHandler())
	first := expose(t, s, "--token-file", token, "--name", "web", service)
	host := first.host(1)
	second := expose(t, s, "--token-file", token, "--name", "web", service)
	if other := second.host(1); other != host {
		t.Errorf("the same name leads to %s and %s", host, other)
	}
	if code := first.wait(); code != 4 || !strings.Contains(first.err.String(), "taken the name over") {
		t.Errorf("%d, %q", code, first.err)
	}
}

// A server that refuses for good ends it with its sentence.
func TestExposeRefused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publish("key")
	for _, test := range []struct {
		s     *server
		words string
	}{
		{start(t), "there are no tunnels"},
		{tunnelServer(t, "CLERK_JWKS_URL="+i.url), "token"},
	} {
		e := expose(t, test.s, "3000")
		if code := e.wait(); code != 3 || !strings.Contains(e.err.String(), test.words) {
			t.Errorf("%d, %q", code, e.err)
		}
	}
	e := exposeBinary(t, binaryPath, "ws://127.0.0.1:1", "3000", "4000")
	if code := e.wait(); code != 2 || !strings.Contains(e.err.String(), "web=3000") {
		t.Errorf("%d, %q", code, e.err)
	}
}

// A gigabyte passes in no more memory than a page does.
func TestExposeMemory(t *testing.T) {
	t.Parallel()
	const size = 1 << 30
	chunk := make([]byte, 1<<20)
	service := bytesService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	// The race detector would take a minute for it.
	s := launchBinary(t, path, "TUNNEL_DOMAIN="+tunnelDomain, "TUNNEL_BIND=127.0.0.1")
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	e := exposeBinary(t, path, "--json", s.ws(""), service)
	request, _ := http.NewRequest("GET", s.url("/"), nil)
	request.Host = e.host(1)
	answer, err := tunnelHTTP(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != size {
		t.Fatalf("%d bytes came, %v", n, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib := 0
	_, _ = fmt.Sscan(peak, &kib)
	const most = 64 << 10 // some 20 MiB are usual
	if kib == 0 || kib > most {
		t.Errorf("it took %d KiB", kib)
	}
}
