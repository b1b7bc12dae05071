package gossh

import (
	"errors"
	"io"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/http1"
	"wsproxy/transport/service"
)

var _ service.Conn = (*conn)(nil)

func TestConnCarriesBytes(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false)
	if n, err := c.Write([]byte("question")); n != 8 || err != nil {
		t.Fatalf("%d bytes are written, %v", n, err)
	}
	if m := r.Reads(); string(m.Data) != "question" {
		t.Fatalf("the client reads %+v", m)
	}
	s.Gives("answer")
	if got, err := c.reads(testkit.Patience); err != nil || got != "answer" {
		t.Errorf("it reads %q, %v", got, err)
	}
	s.EndWrite()
	if _, err := c.reads(testkit.Patience); err != io.EOF {
		t.Errorf("at the end it reads %v", err)
	}
	c.End(service.OutcomeBroken)
	c.Close(messages.CloseEOF)
}

// A conn can take bytes when the client can, which may be never.
func TestConnWaitsForTheClient(t *testing.T) {
	r := newRig(t)
	c, err := open(r.Mux, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Begin(0, false)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("question"))
		wrote <- err
	}()
	r.Takes()
	r.barrier() // and does not answer
	c.Close(messages.CloseReset)
	if err := testkit.Receive(t, wrote); !errors.Is(err, messages.ErrStopped) {
		t.Errorf("the write is %v", err)
	}
	c.End(service.OutcomeBroken)
	if m := r.Reads(); m.Type != "tcp_close" {
		t.Errorf("the client reads %+v", m)
	}
}

// How the client is made to let go of a connection.
func TestConnLeaves(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome service.Outcome
		first   string // what the client gets first; empty: nothing but the end
	}{
		{"a service that has ended", service.OutcomeLast, "\n"},
		{"a service that waits", service.OutcomeKept, "OPTIONS * HTTP/1.1\r\n"},
		{"an answer that nobody wants", service.OutcomeLeft, unparsable},
		{"a part of a request", service.OutcomeBroken, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			c, s := r.dials()
			c.Begin(0, false)
			s.Gives("H")
			if _, err := c.reads(testkit.Patience); err != nil {
				t.Fatal(err)
			}
			c.Close(messages.CloseReset)
			c.Close(messages.CloseReset) // once more does nothing
			if _, err := c.Write([]byte("GET ")); !errors.Is(err, messages.ErrStopped) {
				t.Errorf("what is written when it is closed: %v", err)
			}
			if _, err := c.reads(testkit.Patience); !errors.Is(err, messages.ErrStopped) {
				t.Errorf("what is read then: %v", err)
			}
			c.End(test.outcome) // it is waited for
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
			for {
				if _, closed := testkit.Hears[any](s.Ear).(*messages.StreamClosed); closed {
					break
				}
			}
		})
	}
}

// What the service still sends when nobody listens any more does not wait for
// anybody: it is read.
func TestConnReadsOnWhileItLeaves(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false)
	c.End(service.OutcomeLeft)
	c.Close(messages.CloseReset)
	const piece, all = 64 << 10, 4 << 20
	for range all / piece {
		s.Gives(strings.Repeat("x", piece))
		testkit.Eventually(t, "it is read", func() bool { waiting, _ := s.Waiting(); return waiting == 0 })
	}
	s.EndWrite()
	testkit.Receive(t, s.Done())
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
		if whole := c.Begin(idle, false); whole != probe {
			t.Errorf("the head must come whole: %t", whole)
		}
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\n"))
			_, _ = c.Write([]byte(strings.Repeat("x", 100)))
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
		testkit.Receive(t, wrote)
		c.End(service.OutcomeKept)
	}
	c.Close(messages.CloseEOF)
}

// A connection that turns out to have ended while the beginning of a request is
// written to it has got nothing, as far as anybody is concerned: it may be sent again.
func TestConnEndsWhileItIsProbed(t *testing.T) {
	for _, early := range []string{"", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"} {
		r := newRig(t)
		c, s := r.dials()
		c.Begin(probeAfter, false)
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(testkit.Pattern(1 << 20))
			wrote <- err
		}()
		if m := r.Reads(); len(m.Data) != 4 {
			t.Fatalf("the first part is %q", m.Data)
		}
		if early != "" {
			s.Gives(early)
		}
		s.EndWrite() // the client's tcp_close
		if err := testkit.Receive(t, wrote); !errors.Is(err, service.ErrUnsent) {
			t.Errorf("the write fails: %v", err)
		}
		c.Close(messages.CloseReset)
		c.End(service.OutcomeBroken)
	}
}

// A body that lasts until the service ends is waited for by writing to that, unless
// the request is still being written.
func TestConnBreaksTheSilence(t *testing.T) {
	for _, sent := range []bool{true, false} {
		r := newRig(t)
		c, s := r.dials()
		c.Begin(0, false)
		c.Answered(&http1.Answer{Status: 200, Length: http1.UntilClose}, nil, sent)
		got := make(chan error, 1)
		go func() {
			_, err := c.reads(testkit.Patience)
			got <- err
		}()
		if sent {
			if m := r.Reads(); string(m.Data) != "\n" {
				t.Errorf("the service is sent %+v", m)
			}
		}
		s.EndWrite()
		if err := testkit.Receive(t, got); err != io.EOF {
			t.Errorf("at the end it reads %v", err)
		}
		if in, _ := s.Moved(); sent != (in == 1) {
			t.Errorf("sent %t: %d bytes are written", sent, in)
		}
		c.Close(messages.CloseEOF)
		c.End(service.OutcomeLast)
	}
}

// A connection that takes leave serves no other request.
func TestConnThatLeavesIsNotKept(t *testing.T) {
	r := newRig(t)
	c, s := r.dials()
	c.Begin(0, false)
	if !c.Idle(func() {}) || !c.Use() {
		t.Error("one that is in order is not kept")
	}
	c.Idle(func() {})
	c.Close(messages.CloseReset)
	if c.Use() || c.Idle(func() {}) {
		t.Error("it is kept")
	}
	c.End(service.OutcomeBroken)
	testkit.Receive(t, s.Done())
}
