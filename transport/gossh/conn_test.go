package gossh

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/forward"
)

func nobody() {}

func TestConnCarriesBytes(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	_, _ = io.WriteString(c, "question")
	if m := r.Reads(); string(m.Data) != "question" {
		t.Fatalf("the client reads %+v", m)
	}
	s.Gives("answer")
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "answer" {
		t.Errorf("it reads %q, %v", got, err)
	}
	s.EndWrite()
	if _, err := c.Read(got); err != io.EOF {
		t.Errorf("at the end it reads %v", err)
	}
}

// Whoever waits for an answer hears first that the request must not be sent
// again.
func TestConnTellsAnAbortFromAnEnd(t *testing.T) {
	for _, used := range []bool{false, true} {
		r := newRig(t)
		c, s := r.dials()
		interrupted := 0
		if used {
			defer c.Begin(0, false, func() { interrupted++ }).End(forward.OutcomeBroken)
		}
		s.Abort(messages.CloseRestart)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("it reads %v", err)
		}
		if used != (interrupted == 1) {
			t.Errorf("used %t: interrupted %d times", used, interrupted)
		}
	}
}

// net/http would log what comes when nothing was asked for.
func TestConnHidesWhatComesUnasked(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false, nobody).End(forward.OutcomeKept)
	s.Gives("secret")
	if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errUnasked) {
		t.Errorf("it reads %d bytes, %v", n, err)
	}
}

// How the client is made to let go of a connection.
func TestConnLeaves(t *testing.T) {
	for _, test := range []struct {
		name    string
		used    bool
		outcome forward.Outcome
		first   string // what the client gets first; empty: nothing but the end
	}{
		{"a service that has ended", true, forward.OutcomeLast, "\n"},
		{"a service that waits", true, forward.OutcomeKept, "OPTIONS * HTTP/1.1\r\n"},
		{"one that was never used", false, 0, "OPTIONS * HTTP/1.1\r\n"},
		{"an answer that nobody wants", true, forward.OutcomeLeft, unparsable},
		{"a part of a request", true, forward.OutcomeBroken, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			c, s := r.dials()
			if test.used {
				u := c.Begin(0, false, nobody)
				u.Answered(&http.Response{StatusCode: http.StatusOK})
				go u.End(test.outcome) // it is waited for
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err == nil {
				t.Error("it can be closed twice")
			}
			n, err := io.WriteString(c, "GET ")
			if test.used && (n != 0 || err == nil) || !test.used && (n != 4 || err != nil) { // of a request: nothing was written
				t.Errorf("what is written when it is closed: %d, %v", n, err)
			}
			m := r.Reads()
			if test.first == "" {
				if m.Type != "tcp_close" {
					t.Errorf("the client reads %+v", m)
				}
				return
			}
			if m.Type != "data" || string(m.Data) != test.first {
				t.Fatalf("the client reads %+v", m)
			}
			s.EndWrite() // its tcp_close
			testkit.Hears[*messages.StreamClosed](s.Ear)
		})
	}
}

// What the service still sends when nobody listens any more does not wait for
// anybody: it is read.
func TestConnReadsOnWhileItLeaves(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false, nobody).End(forward.OutcomeLeft)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	const piece, all = 64 << 10, 4 << 20 // more than a pair of sockets holds
	for range all / piece {
		s.Gives(strings.Repeat("x", piece))
		testkit.Eventually(t, "it is read", func() bool { waiting, _ := s.Waiting(); return waiting == 0 })
	}
	s.EndWrite()
	testkit.Eventually(t, "it is over", func() bool {
		select {
		case <-s.Done():
			return true
		default:
			return false
		}
	})
}

// A request on a connection that was kept comes in two parts.
func TestConnProbes(t *testing.T) {
	r := newRig(t)
	c, _ := r.dials()
	for _, probe := range []bool{true, false} {
		idle := probeAfter - 1
		if probe {
			idle = probeAfter
		}
		u := c.Begin(idle, false, nobody)
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n")
			_, _ = io.WriteString(c, strings.Repeat("x", 100))
		}()
		var parts []string
		for n := 0; n < 116; {
			m := r.Reads()
			parts = append(parts, string(m.Data))
			n += len(m.Data)
		}
		if whole := strings.Join(parts, ""); !strings.HasPrefix(whole, "GET / HTTP/1.1\r\nxxx") {
			t.Errorf("the client reads %q", whole)
		}
		if probe != (parts[0] == "GET ") {
			t.Errorf("probe %v: the first part is %q", probe, parts[0])
		}
		u.End(forward.OutcomeKept)
	}
}

// A connection that turns out to have ended while a request is written to it is
// known by its end, not by a write that fails: else the request could not be
// sent again.
func TestConnEndsWhileItIsProbed(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	u := c.Begin(probeAfter, false, nobody)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(testkit.Pattern(1 << 20))
		wrote <- err
	}()
	if m := r.Reads(); len(m.Data) != 4 {
		t.Fatalf("the first part is %q", m.Data)
	}
	s.EndWrite() // the client's tcp_close
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it reads %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	u.End(forward.OutcomeBroken)
	if err := testkit.Receive(t, wrote); err != nil {
		t.Errorf("the write fails: %v", err)
	}
}
