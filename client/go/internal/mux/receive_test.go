package mux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
)

// Bytes of many messages, large and small, come as they were sent, however they are
// read; then the end.
func TestReadsWhatCame(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	var want []byte
	for i := range 40 {
		b := bytes.Repeat([]byte{byte(i)}, []int{1, 0, 5000, 31, 9000}[i%5])
		want = append(want, b...)
		p.data("a", b)
	}
	p.close("a", "eof")
	var got []byte
	for i := 0; ; i++ {
		b := make([]byte, []int{1, 700, 20_000}[i%3])
		n, err := s.Read(b)
		if got = append(got, b[:n]...); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes are read, not the %d that came", len(got), len(want))
	}
	if s.RemoteAddr().String() != "192.0.2.1:5" || s.LocalAddr().String() != "example.com:10042" {
		t.Errorf("it is from %v to %v", s.RemoteAddr(), s.LocalAddr())
	}
}

// Two streams don't mix, and each message counts as passed on at once.
func TestStreamsHaveTheirOwnBytes(t *testing.T) {
	p := newPeer(t)
	a, b := p.raw("a"), p.http("b")
	p.data("b", []byte("two"))
	p.data("a", []byte("one"))
	p.close("a", "eof")
	p.close("b", "eof")
	if got, err := io.ReadAll(a); string(got) != "one" || err != nil {
		t.Errorf("a has %q, %v", got, err)
	}
	if got, err := io.ReadAll(b); string(got) != "two" || err != nil {
		t.Errorf("b has %q, %v", got, err)
	}
	if _, passed := p.counts(); passed != 7 {
		t.Errorf("%d of 7 messages are passed on", passed)
	}
}

// Credit comes back when a quarter window was read, neither sooner nor for what
// nobody has read.
func TestCreditFollowsTheReader(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	const quarter = messages.Window / 4
	for range 8 {
		p.bytes("a", messages.Window/8)
	}
	p.wantSends("")
	if n, err := reads(s, quarter-1); n != quarter-1 || err != nil {
		t.Fatal(n, err)
	}
	p.wantSends("")
	_, _ = reads(s, 1)
	p.wantSends(fmt.Sprint("a:credit ", quarter))
	_, _ = reads(s, 3*quarter)
	var total int
	for sends := range strings.FieldsSeq(strings.ReplaceAll(p.sends(), "a:credit ", "")) {
		var n int
		if _, err := fmt.Sscan(sends, &n); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total > 3*quarter || total <= 2*quarter {
		t.Errorf("credit of %d is given for %d bytes", total, 3*quarter)
	}
}

// A server that sends more than it had credit for loses that connection, and no other.
func TestOverrunBreaksTheConnection(t *testing.T) {
	p := newPeer(t)
	s, other := p.raw("a"), p.raw("b")
	for range 8 {
		p.bytes("a", messages.Window/8)
	}
	p.wantSends("")
	p.bytes("a", 1)
	p.wantSends("a:closereset")
	_, err := s.Write([]byte("x"))
	wantBroken(t, err, "overrun")
	n, err := reads(s, 1<<20) // what it may have sent came before
	if wantBroken(t, err, "overrun"); n != messages.Window {
		t.Errorf("%d bytes are read", n)
	}
	p.bytes("a", 1)
	p.wantSends("")
	p.data("b", []byte("x"))
	if n, err := other.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// What the server says of the end of a connection comes behind the bytes before it.
func TestEndsFromTheServer(t *testing.T) {
	for _, reason := range []string{"reset", "limit", "slow", "unknown", "restart", "shutdown", "tomorrow's", ""} {
		p := newPeer(t)
		s := p.raw("a")
		if _, err := s.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		p.data("a", []byte("last"))
		p.close("a", reason)
		b, err := io.ReadAll(s)
		if string(b) != "last" {
			t.Errorf("%s: %q is read", reason, b)
		}
		want := reason
		if want == "" {
			want = "reset"
		}
		wantBroken(t, err, want)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error of %s says %v", reason, err)
		}
		_, err = s.Write([]byte("x"))
		wantBroken(t, err, want)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		p.wantSends("") // neither what waited, nor an answer
		p.data("a", []byte("late"))
		p.wantSends("")
	}
}

// After the peer's end this side goes on, and says its own.
func TestHalfCloseByThePeer(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	p.close("a", "eof")
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if _, err := s.Write(make([]byte, 5)); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	p.wantSends("a:5 a:close")
	// A peer that ended, and whose connection then broke.
	s = p.raw("b")
	p.close("b", "eof")
	p.close("b", "reset")
	_, err := s.Read(make([]byte, 1))
	wantBroken(t, err, "reset")
}

// Messages about connections that there are not are answered once, and only if
// they carry data.
func TestUnknownConnections(t *testing.T) {
	p := newPeer(t)
	p.data("0123456789ab", []byte("x"))
	p.data("0123456789ab", []byte("x"))
	p.data("", nil)
	p.credit("other", 1)
	p.close("other", "reset")
	p.wantSends("0123456789ab:close :close")
	s := p.raw("a")
	s.Close()
	p.wantSends("a:close")
	p.data("a", []byte("on its way"))
	p.wantSends("")
	for i := range maxRecent { // then the oldest is forgotten
		p.data(fmt.Sprint(i), nil)
	}
	_ = p.sends()
	p.data("0123456789ab", []byte("x"))
	p.wantSends("0123456789ab:close")
	if n := len(p.m.recent.known); n != maxRecent || len(p.m.recent.ring) != n {
		t.Errorf("%d ids are remembered", n)
	}
}

// What no server may say ends the session with 1002, and everything in it.
func TestProtocolErrors(t *testing.T) {
	opened := messages.EncodeOpen("a", "192.0.2.1:5", "")
	for name, say := range map[string]func(p *peer){
		"no JSON":          func(p *peer) { p.say([]byte(`{"type"`)) },
		"a wrong type":     func(p *peer) { p.say([]byte(`{"type":"tcp_credit","connId":"a","bytes":"1"}`)) },
		"no credit":        func(p *peer) { p.say([]byte(`{"type":"tcp_credit","connId":"a","bytes":0}`)) },
		"twice the same":   func(p *peer) { p.say(opened) },
		"a second ready":   func(p *peer) { p.say(messages.EncodeReady(messages.Ready{})) },
		"half a header":    func(p *peer) { p.m.Take([]byte{0, 0, 0, 9, 'a'}, false) },
		"a connId too far": func(p *peer) { p.say(messages.EncodeOpen(strings.Repeat("x", messages.MaxConnID+1), "", "")) },
	} {
		p := newPeer(t)
		s := p.raw("a")
		say(p)
		if p.closed() != 1002 {
			t.Errorf("%s: the session is closed with %d", name, p.closed())
		}
		_, err := s.Read(make([]byte, 1))
		wantBroken(t, err, "tunnel")
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: the error is %v", name, err)
		}
		p.offer("b", "")
		p.wantSends("")
		p.m.Ended(nil)
		<-p.m.Done()
		if !errors.Is(p.m.Err(), ErrProtocol) {
			t.Errorf("%s: the tunnel ended with %v", name, p.m.Err())
		}
	}
	p := &peer{t: t, m: New(true)}
	p.m.Attach(p)
	p.offer("a", "")
	if _, err := p.m.Ready(t.Context()); !errors.Is(err, ErrProtocol) || p.closed() != 1002 {
		t.Errorf("a tunnel that begins with tcp_open: %v", err)
	}
}

// What this client doesn't know yet it ignores.
func TestUnknownMessagesAreIgnored(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	p.say([]byte(`{"type":"tomorrow","connId":"a","bytes":false}`))
	p.say([]byte(`{"connId":"a"}`))
	p.data("a", []byte("x"))
	if n, err := s.Read(make([]byte, 9)); n != 1 || err != nil || p.closed() != 0 {
		t.Error(n, err, p.closed())
	}
}

// A reader that waits gets what comes, and gives up at its deadline.
func TestReadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		read := func() error { _, err := s.Read(make([]byte, 9)); return err }
		came := result(read)
		wantWaits(t, "Read", came)
		p.data("a", []byte("x"))
		if err := <-came; err != nil {
			t.Error(err)
		}
		start := time.Now()
		_ = s.SetReadDeadline(start.Add(time.Minute))
		var timeout net.Error
		if err := read(); !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		_ = s.SetReadDeadline(time.Time{})
		came = result(read)
		wantWaits(t, "Read", came)
		s.Close()
		if err := <-came; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// Who closes a connection doesn't hold its peer up, which may have to be read before
// it takes what is left for it.
func TestClosedConnectionTakesBytes(t *testing.T) {
	p := newPeer(t)
	s := p.http("a")
	for range 8 { // all that it may send at once
		if _, err := s.Write(make([]byte, messages.Window/8)); err != nil {
			t.Fatal(err)
		}
		_ = p.sends()
	}
	if _, err := s.Write([]byte("the last word")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range 8 {
		p.bytes("a", messages.Window/8)
	}
	if got := p.sends(); !strings.HasPrefix(got, "a:credit ") || strings.Contains(got, "close") {
		t.Errorf("it sends %q", got)
	}
	p.credit("a", 100)
	p.wantSends("a:13 a:close")
}

// A stream that nothing waits on holds no buffer; one that has ended neither.
func TestIdleStreamsHoldNoBuffers(t *testing.T) {
	before := pooled.Held()
	p := newPeer(t)
	var streams []*Stream
	for i := range 30 {
		id := fmt.Sprint("s", i)
		s := p.raw(id)
		streams = append(streams, s)
		p.bytes(id, 50_000)
		_, _ = s.Write(make([]byte, 50_000))
		switch i % 3 {
		case 0: // all of it goes its way
			_, _ = reads(s, 50_000)
		case 1:
			s.Close()
		case 2:
			p.close(id, "reset")
			s.Close()
		}
	}
	_ = p.sends()
	if held := pooled.Held() - before; held > 0 {
		t.Errorf("%d buffers are held", held)
	}
	for range 100 {
		p.bytes("s0", 100)
	}
	if held := pooled.Held() - before; held > 1 {
		t.Errorf("%d bytes that wait take %d buffers", 100*100, held)
	}
	_ = streams
}
