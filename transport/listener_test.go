package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// What net/http answers by itself is counted as what the handlers answer, and
// nothing is counted twice.
func TestUnreadableRequestsAreCounted(t *testing.T) {
	d := newDesk(t, nil)
	address, _ := d.listen(t)
	const rest = len("GET /health HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nX: \r\n\r\n")
	most := strings.Repeat("x", maxHeader-rest)
	for name, c := range map[string]struct {
		text   string
		status int
		want   []string
	}{
		"a stray % in the path":     {"GET /100% HTTP/1.1\r\nHost: proxy\r\n\r\n", 400, []string{"http bad_request"}},
		"no host":                   {"GET /health HTTP/1.1\r\n\r\n", 400, []string{"http bad_request"}},
		"no HTTP":                   {"SSH-2.0-x\r\n\r\n", 400, []string{"http bad_request"}},
		"an unknown coding":         {"GET /health HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: gzip\r\n\r\n", 501, []string{"http bad_request"}},
		"the longest header":        {"GET /health HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nX: " + most + "\r\n\r\n", 200, nil},
		"a long header":             {"GET /health HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nX: x" + most + "\r\n\r\n", 431, []string{"http header_too_big"}},
		"a long path":               {"GET /" + most + strings.Repeat("x", rest) + " HTTP/1.1\r\nHost: proxy\r\n\r\n", 431, []string{"http header_too_big"}},
		"what can be read":          {"GET /health HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n", 200, nil},
		"a handler's 400":           {"GET /relay HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n", 400, []string{"relay bad_target"}},
		"a % that begins an escape": {"GET /health%20 HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n", 404, nil},
	} {
		conn := dialText(t, address, c.text)
		in := bufio.NewReader(conn)
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != c.status || !answer.Close {
			t.Errorf("%s: status %d, closing %v; want %d and an end", name, answer.StatusCode, answer.Close, c.status)
		}
		if got := d.take(); strings.Join(got, "|") != strings.Join(c.want, "|") { // counted before it is written
			t.Errorf("%s: counted as %q, want %q", name, got, c.want)
		}
	}
}

// uploading begins an upload that is refused, and returns when its answer has
// come.
func uploading(t *testing.T, address string) (answer *http.Response, conn io.Writer) {
	t.Helper()
	c := dialText(t, address, "POST /relay HTTP/1.1\r\nHost: proxy\r\nContent-Length: 1000000\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer, c
}

// The rest of a refused upload holds the end of the server up by nothing.
func TestShutdownEndsTheDiscarding(t *testing.T) {
	d := newDesk(t, nil)
	address, server := d.listen(t)
	answer, conn := uploading(t, address)
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("status %d, want 405", answer.StatusCode)
	}
	if _, err := io.WriteString(conn, "more"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > messages.Linger-time.Second {
		t.Errorf("it took %v", took)
	}
}

// A shutdown takes nobody's answer away.
func TestShutdownLetsRequestsBeAnswered(t *testing.T) {
	d := newDesk(t, nil)
	address, server := d.listen(t)
	conn := dialText(t, address, handshakeText)
	open := d.opened()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	refused := make(chan struct{})
	server.RegisterOnShutdown(func() { close(refused) })
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(ctx) }()
	testkit.Receive(t, refused)
	testkit.Eventually(t, "the listener is closed", func() bool {
		c, err := http.Get("http://" + address + "/health")
		if err == nil {
			c.Body.Close()
		}
		return err != nil
	})
	open.Answer <- messages.Admission{Refusal: messages.ReasonDraining}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantSentence(t, answer, http.StatusServiceUnavailable)
	if err := testkit.Receive(t, ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
