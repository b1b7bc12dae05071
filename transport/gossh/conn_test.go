package gossh

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// inside opens a raw connection from within, of which the client knows.
func (r *tunnelRig) inside() (*insideConn, *tunnelConn) {
	r.t.Helper()
	conn, err := r.link.dial(context.Background(), r.handler.pid, "192.0.2.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.UnixConn.Close() })
	return conn, r.opensInside()
}

// opensInside lets a raw connection from within come in.
func (r *tunnelRig) opensInside() *tunnelConn {
	r.t.Helper()
	s := hears[*messages.Accepted](r.handler).Stream.(*stream)
	c := &tunnelConn{stream: s, ear: newTunnelEar(r.t, r.system)}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.pid)
	s.Open()
	if m := r.clientReads(); m.kind != "tcp_open" || m.fields["remoteAddr"] != "192.0.2.1:0" {
		r.t.Fatalf("the client is told %+v", m)
	}
	if r.link.gossh != nil {
		r.barrier()
		r.clientSends(websocket.BinaryMessage, tunnelData(s.ID(), []byte("!"))) // it can take bytes
	}
	return c
}

func TestInsideConnCarriesBytes(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	conn, c := r.inside()
	_, _ = io.WriteString(conn, "question")
	if m := r.clientReads(); string(m.data) != "question" {
		t.Fatalf("the client reads %+v", m)
	}
	c.Hold(6)
	c.Write([]byte("answer"))
	got := make([]byte, 6)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "answer" {
		t.Errorf("it reads %q, %v", got, err)
	}
	c.EndWrite()
	if _, err := conn.Read(got); err != io.EOF {
		t.Errorf("at the end it reads %v", err)
	}
}

func TestInsideConnTellsAnAbortFromAnEnd(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	conn, c := r.inside()
	c.Abort(messages.CloseRestart)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it reads %v", err)
	}
}

// net/http would log what comes when nothing was asked for.
func TestInsideConnHidesWhatComesUnasked(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	conn, c := r.inside()
	conn.begin(false).end(visitKept)
	c.Hold(6)
	c.Write([]byte("secret"))
	if n, err := conn.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errUnasked) {
		t.Errorf("it reads %d bytes, %v", n, err)
	}
}

// How the client is made to let go of a connection.
func TestInsideConnLeave(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome visitOutcome
		first   string // what the client gets first
	}{
		{"a service that has ended", visitLast, "\n"},
		{"a service that waits", visitKept, "OPTIONS * HTTP/1.1\r\n"},
		{"one that was never used", visitKept, "OPTIONS * HTTP/1.1\r\n"},
		{"a service of which nobody knows", visitBroken, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startedGosshRig(t)
			conn, c := r.inside()
			if test.name != "one that was never used" {
				go conn.begin(false).end(test.outcome) // it is waited for
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err == nil {
				t.Error("it can be closed twice")
			}
			m := r.clientReads()
			if test.first == "" {
				if m.kind != "tcp_close" {
					t.Errorf("the client reads %+v", m)
				}
				return
			}
			if m.kind != "data" || string(m.data) != test.first {
				t.Fatalf("the client reads %+v", m)
			}
			c.EndWrite() // its tcp_close
			hears[*messages.StreamClosed](c.ear)
		})
	}
}

// A request on a connection that was kept comes in two parts.
func TestInsideConnProbes(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	conn, _ := r.inside()
	for _, probe := range []bool{true, false} {
		v := conn.begin(probe)
		go func() {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n")
			_, _ = io.WriteString(conn, strings.Repeat("x", 100))
		}()
		var parts []string
		for n := 0; n < 116; {
			m := r.clientReads()
			parts = append(parts, string(m.data))
			n += len(m.data)
		}
		if whole := strings.Join(parts, ""); !strings.HasPrefix(whole, "GET / HTTP/1.1\r\nxxx") {
			t.Errorf("the client reads %q", whole)
		}
		if probe != (parts[0] == "GET ") {
			t.Errorf("probe %v: the first part is %q", probe, parts[0])
		}
		v.end(visitKept)
	}
}

// Who asks why a request as bytes failed leaves the handler's word where it is:
// there is no other one to wait for.
func TestWordOfAFailedHandlerStays(t *testing.T) {
	x := &exchange{r: httptest.NewRequest("GET", "/", nil), answer: make(chan messages.Answer, 1)}
	x.answer <- messages.Answer{Refusal: messages.ReasonRestarted}
	for range 2 {
		if reason := x.failed(io.ErrUnexpectedEOF); reason != messages.ReasonRestarted {
			t.Errorf("the reason is %s", reason)
		}
	}
	<-x.answer
	if reason := x.failed(io.ErrUnexpectedEOF); reason != messages.ReasonBadAnswer {
		t.Errorf("without a word the reason is %s", reason)
	}
}
