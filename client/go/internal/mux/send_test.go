package mux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// longest is how much payload the longest message of a connection has whose id is
// one byte long.
const longest = wsock.BufferSize - 5

// What is written goes out in messages of at most 32 KiB in all, and no more than
// the server gave credit for.
func TestWritesWithinCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		want := bytes.Repeat([]byte("0123456789"), 40_000)
		wrote := result(func() error { _, err := s.Write(want); return err })
		var got []byte
		take := func() {
			for {
				synctest.Wait()
				id, payload, said := p.next()
				if payload == nil {
					return
				}
				if got = append(got, payload...); id != "a" || said != "" {
					t.Error(id, said)
				}
			}
		}
		take()
		if len(got) != messages.Window {
			t.Errorf("%d bytes go out without credit", len(got))
		}
		wantWaits(t, "Write", wrote)
		p.credit("a", 100)
		take()
		if len(got) != messages.Window+100 {
			t.Errorf("%d bytes go out with 100 more of credit", len(got))
		}
		for range 3 {
			p.credit("a", 50_000)
			take()
		}
		if err := <-wrote; err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes go out, the same: %t, %v", len(got), len(want), bytes.Equal(got, want), err)
		}
		p.credit("a", 1<<40) // no more than the widest window
		if s.may != messages.MaxWindow {
			t.Errorf("it may send %d", s.may)
		}
	})
}

// Small writes that wait go out together.
func TestSmallWritesAreJoined(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	for range 100 {
		_, _ = s.Write(make([]byte, 100))
	}
	p.wantSends("a:10000")
}

// At most two messages of a stream wait; then Write waits, and not longer than its deadline.
func TestWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		write := func(n int) func() error {
			return func() error { _, err := s.Write(make([]byte, n)); return err }
		}
		if err := write(2 * longest)(); err != nil {
			t.Fatal(err)
		}
		wrote := result(write(1))
		wantWaits(t, "Write", wrote)
		if _, payload, _ := p.next(); len(payload) != longest {
			t.Errorf("the first message has %d bytes", len(payload))
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		start := time.Now()
		_ = s.SetWriteDeadline(start.Add(time.Minute))
		n, err := s.Write(make([]byte, 2*longest))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != longest-1 || time.Since(start) != time.Minute {
			t.Errorf("after %v: %d, %v", time.Since(start), n, err)
		}
		p.wantSends(fmt.Sprintf("a:%d a:%d", longest, longest))
		_ = s.SetDeadline(time.Now().Add(-1))
		if err := write(1)(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = s.SetDeadline(time.Time{})
		wrote = result(write(10 * longest))
		wantWaits(t, "Write", wrote)
		s.Close()
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// Two writers of one stream don't mix their bytes.
func TestWritesStayWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		var wrote []<-chan error
		for i := range 3 {
			wrote = append(wrote, result(func() error { _, err := s.Write(bytes.Repeat([]byte{byte(i)}, 80_000)); return err }))
		}
		var got []byte
		for {
			synctest.Wait()
			_, payload, _ := p.next()
			if payload == nil {
				break
			}
			got = append(got, payload...)
		}
		for _, w := range wrote {
			if err := <-w; err != nil {
				t.Error(err)
			}
		}
		for i := range 3 {
			if from := bytes.IndexByte(got, byte(i)); from%80_000 != 0 || bytes.Count(got[from:from+80_000], []byte{byte(i)}) != 80_000 {
				t.Errorf("the bytes of writer %d are mixed", i)
			}
		}
	})
}

// Streams take turns that are counted in bytes; who had nothing goes first, and
// with few bytes before all.
func TestStreamsTakeTurns(t *testing.T) {
	p := newPeer(t)
	a, b, c, d := p.raw("a"), p.raw("b"), p.raw("c"), p.raw("d")
	fill := func(s *Stream, n int) {
		t.Helper()
		if _, err := s.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	fill(a, 2*longest)
	fill(b, 2*longest)
	fill(c, 10)
	next := func() string {
		id, payload, _ := p.next()
		return fmt.Sprint(id, len(payload))
	}
	large := fmt.Sprint(longest)
	if got := next() + next(); got != "c10a"+large { // a has had its turn
		t.Error(got)
	}
	fill(a, longest)
	fill(d, 7)
	got := strings.Join([]string{next(), next(), next(), next(), next()}, " ")
	if want := strings.ReplaceAll("d7 bX aX bX aX", "X", large); got != want {
		t.Errorf("the order is %s, want %s", got, want)
	}
}

// A stream that sends little at a time has no more than its turns' bytes.
func TestNobodyIsForEverNew(t *testing.T) {
	p := newPeer(t)
	bulk, sly := p.raw("a"), p.raw("b")
	of := map[string]int{}
	for range 60 {
		for bulk.out.size < longest {
			_, _ = bulk.Write(make([]byte, longest))
		}
		_, _ = sly.Write(make([]byte, 3000))
		id, payload, _ := p.next()
		of[id] += len(payload)
		p.credit("a", len(payload))
		p.credit("b", len(payload))
	}
	if of["b"] > of["a"]+wsock.BufferSize || of["a"] == 0 {
		t.Errorf("the sly one has sent %d, the other %d", of["b"], of["a"])
	}
}

// What is said of a stream's end stands behind its data; credit and answers go before data.
func TestOrderOfControl(t *testing.T) {
	p := newPeer(t)
	a, b := p.raw("a"), p.raw("b")
	_, _ = a.Write(make([]byte, 2*longest))
	a.Close()
	p.bytes("b", messages.Window/4)
	_, _ = reads(b, messages.Window/4)
	p.data("x", nil)
	p.wantSends(fmt.Sprintf("x:close b:credit %d a:%d a:%d a:close", messages.Window/4, longest, longest))
	// An end that waits for credit of the data before it.
	s := p.raw("c")
	for range 8 {
		_, _ = s.Write(make([]byte, messages.Window/8))
		_ = p.sends()
	}
	_, _ = s.Write([]byte("x"))
	_ = s.CloseWrite()
	p.wantSends("")
	p.credit("c", 1)
	p.wantSends("c:1 c:closeeof")
}

// The ways in which this side ends a connection.
func TestEndsFromThisSide(t *testing.T) {
	for name, test := range map[string]struct {
		http bool
		end  func(p *peer, s *Stream)
		want string
	}{
		"close":                      {false, func(_ *peer, s *Stream) { s.Close() }, "a:9 a:close"},
		"close with unread bytes":    {false, func(p *peer, s *Stream) { p.bytes("a", 1); s.Close() }, "a:9 a:closereset"},
		"an early answer":            {true, func(p *peer, s *Stream) { p.bytes("a", 1); s.Close() }, "a:9 a:close"},
		"unread bytes and their end": {false, func(p *peer, s *Stream) { p.bytes("a", 1); p.close("a", "eof"); s.Close() }, "a:9 a:close"},
		"half close":                 {false, func(_ *peer, s *Stream) { _ = s.CloseWrite(); _ = s.CloseWrite() }, "a:9 a:closeeof"},
		"half close, then close":     {false, func(p *peer, s *Stream) { _ = s.CloseWrite(); s.Close() }, "a:9 a:close"},
		"half close, said, close":    {false, func(p *peer, s *Stream) { _ = s.CloseWrite(); p.wantSends("a:9 a:closeeof"); s.Close() }, "a:close"},
		"both half closes": {false, func(p *peer, s *Stream) {
			p.close("a", "eof")
			_ = s.CloseWrite()
			p.wantSends("a:9 a:closeeof")
			s.Close()
		}, ""},
		"both, this side first": {false, func(p *peer, s *Stream) {
			_ = s.CloseWrite()
			p.wantSends("a:9 a:closeeof")
			p.close("a", "eof")
			s.Close()
		}, ""},
		"half close over HTTP":        {true, func(p *peer, s *Stream) { _ = s.CloseWrite(); p.wantSends("a:9 a:closeeof"); s.Close() }, ""},
		"reset":                       {false, func(_ *peer, s *Stream) { _ = s.Reset() }, "a:closereset"},
		"reset of what closes":        {false, func(_ *peer, s *Stream) { s.Close(); _ = s.Reset() }, "a:closereset"},
		"refuse":                      {true, func(_ *peer, s *Stream) { _ = s.Refuse() }, "a:closerefused"},
		"close, twice":                {false, func(_ *peer, s *Stream) { s.Close(); s.Close() }, "a:9 a:close"},
		"the other side was quicker":  {true, func(p *peer, s *Stream) { p.close("a", "reset"); s.Close() }, ""},
		"an idle one that was closed": {true, func(p *peer, s *Stream) { _ = p.sends(); p.close("a", "eof"); s.Close() }, "a:close"},
	} {
		p := newPeer(t)
		s := p.raw
		if test.http {
			s = p.http
		}
		c := s("a")
		if _, err := c.Write(make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
		test.end(p, c)
		if got := p.sends(); got != test.want {
			t.Errorf("%s: it sends %q, want %q", name, got, test.want)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Errorf("%s: it can be written", name)
		}
		if c.Close(); len(p.m.streams) > 0 && !strings.HasPrefix(name, "half close") {
			t.Errorf("%s: a stream is left", name)
		}
	}
}

// Over HTTP the end of a service is that of both directions, and nobody answers:
// who passes the bytes on must not wait for more.
func TestHalfCloseOverHTTPEndsReading(t *testing.T) {
	p := newPeer(t)
	s := p.http("a")
	p.data("a", []byte("rest"))
	_ = s.CloseWrite()
	p.wantSends("a:closeeof")
	if b, err := io.ReadAll(s); string(b) != "rest" || err != nil {
		t.Errorf("%q is read, %v", b, err)
	}
	p.close("a", "reset")
	if _, err := s.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// A session that waits is woken once for what it then finds.
func TestWakes(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	p.wantSends("")
	before, _ := p.counts()
	for range 5 {
		_, _ = s.Write([]byte("x"))
	}
	if after, _ := p.counts(); after != before+1 {
		t.Errorf("it is woken %d times", after-before)
	}
	p.wantSends("a:5")
	_, _ = s.Write([]byte("x"))
	if after, _ := p.counts(); after != before+2 {
		t.Errorf("it is woken %d times", after-before)
	}
}
