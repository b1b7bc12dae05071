package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// gosshMessage is the largest message that gossh-wasm reads as one.
const gosshMessage = 64 << 10

// A gosshRig is a double of gossh-wasm at a server, a service behind it, and
// somebody outside. What its methods say of a failure is for people.
type gosshRig struct {
	s       *server
	c       *gosshClient
	web     *gosshWeb // nil if another service was named
	outside *http.Client
	limit   time.Duration // how long anything may take
}

// gosshOpen registers a double, with all habits and a gosshWeb behind it
// unless the script says otherwise.
func gosshOpen(t *testing.T, s *server, script gosshScript) *gosshRig {
	t.Helper()
	script.habits = gosshWasm()
	r, err := gosshOpenAs(t, s, "control=gossh", script, 2*patience)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// gosshOpenAs registers a double with some habits. The error is that of the
// registration.
func gosshOpenAs(t *testing.T, s *server, query string, script gosshScript, limit time.Duration) (*gosshRig, error) {
	t.Helper()
	r := &gosshRig{s: s, limit: limit, outside: tunnelHTTP(t)}
	r.outside.Timeout = limit
	if script.service == "" {
		r.web = gosshWebServer(t)
		script.service = r.web.addr
	}
	r.c = gosshDial(t, s.ws("/tunnel?"+query), script)
	return r, r.c.registered(limit)
}

// check fails the test if something came that gossh-wasm can't use.
func (r *gosshRig) check(t *testing.T) {
	t.Helper()
	r.c.mu.Lock()
	texts, largest := r.c.texts, r.c.largest
	r.c.mu.Unlock()
	if texts > 0 {
		t.Errorf("%d text messages came", texts)
	}
	if largest > gosshMessage {
		t.Errorf("a message of %d bytes came", largest)
	}
	if garbage := r.c.seen("garbage"); len(garbage) > 0 {
		t.Errorf("%d pieces of garbage came, the first has %d bytes", len(garbage), garbage[0].size)
	}
	if early := r.c.seen("early"); len(early) > 0 {
		t.Errorf("%d frames came for connections that were not open yet", len(early))
	}
	if lost := r.c.seen("overflow"); len(lost) > 0 {
		t.Errorf("%d connections were dropped because too much waited", len(lost))
	}
}

// ask sends a request from outside.
func (r *gosshRig) ask(method, path string, header http.Header, body string) (tunnelReply, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return tunnelAsk(r.outside, r.s, method, r.c.host, path, header, reader)
}

// get gets a path and compares what comes.
func (r *gosshRig) get(path string, header http.Header, want string) error {
	reply, err := r.ask("GET", path, header, "")
	switch {
	case err != nil:
		return err
	case reply.status != 200:
		return fmt.Errorf("GET %s: status %d, %.100q", path, reply.status, reply.body)
	case reply.body != want:
		return fmt.Errorf("GET %s: another body: %d bytes for %d, %.60q", path, len(reply.body), len(want), reply.body)
	}
	return nil
}

// post sends a body to a service that answers with its hash.
func (r *gosshRig) post(method string, header http.Header, body string) error {
	reply, err := r.ask(method, "/sum", header, body)
	switch {
	case err != nil:
		return err
	case reply.status != 200:
		return fmt.Errorf("%s of %d bytes: status %d, %.100q", method, len(body), reply.status, reply.body)
	case reply.body != gosshSum(method, body):
		return fmt.Errorf("%s of %d bytes: another body came: %.60q", method, len(body), reply.body)
	}
	return nil
}

// dial opens a raw connection, which is closed with the test.
func (r *gosshRig) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.c.port)), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(r.limit))
	return conn.(*net.TCPConn)
}

// echo writes bytes on a new raw connection at once and reads their echo, after
// what the service says first.
func (r *gosshRig) echo(t *testing.T, size int, first string, half bool) error {
	t.Helper()
	conn := r.dial(t)
	defer conn.Close()
	sent := []byte(gosshBinary(size))
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if half {
			err = errors.Join(err, conn.CloseWrite())
		}
		written <- err
	}()
	got := make([]byte, len(first)+size)
	n, err := io.ReadFull(conn, got)
	if err == nil {
		err = <-written
	}
	switch {
	case err != nil:
		return fmt.Errorf("echo of %d bytes: %d come back, then %w", size, n, err)
	case string(got[:len(first)]) != first:
		return fmt.Errorf("the service's first words are %.60q", got)
	case !bytes.Equal(got[len(first):], sent):
		return fmt.Errorf("echo of %d bytes: other bytes", size)
	}
	return nil
}

// asStream is the header of a request whose answer http_request can't carry.
func asStream() http.Header { return http.Header{"Accept": {"text/event-stream"}} }

// inBytes returns how many requests came over raw connections.
func (r *gosshRig) inBytes(path string) int {
	return len(r.web.asked(path)) - len(r.c.requested(path))
}
