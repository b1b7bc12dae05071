package mux

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
)

// Connections are given out by their kind, in the order of their coming.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		raw := result(func() string { s, _ := p.m.Raw.Accept(); return s.id })
		wantWaits(t, "Accept", raw)
		p.offer("h", messages.ProtocolHTTP)
		p.offer("r", "")
		p.offer("i", messages.ProtocolHTTP)
		if id := <-raw; id != "r" {
			t.Errorf("the raw one is %s", id)
		}
		for _, want := range []string{"h", "i"} {
			s := p.accept(messages.ProtocolHTTP)
			if s.id != want || s.LocalAddr().String() != "https://s.example.com" || s.LocalAddr().Network() == "" {
				t.Errorf("it is %s at %v", s.id, s.LocalAddr())
			}
		}
		p.wantSends("")
		time.Sleep(time.Hour) // what was accepted waits for nobody
		p.wantSends("")
	})
}

// What nobody accepts is refused: at once when too many wait, else in time.
func TestNobodyAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		for i := range backlog + 2 {
			p.offer(fmt.Sprint(i), messages.ProtocolHTTP)
		}
		p.wantSends("128:closerefused 129:closerefused")
		p.data("129", []byte("x")) // it was told already
		p.wantSends("")
		if s := p.accept(messages.ProtocolHTTP); s.id != "0" {
			t.Errorf("%s is accepted", s.id)
		}
		time.Sleep(acceptPatience / 2)
		p.offer("later", messages.ProtocolHTTP)
		time.Sleep(acceptPatience/2 - 1)
		synctest.Wait()
		p.wantSends("")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := p.sends(); strings.Count(got, ":closerefused") != backlog-1 || strings.Contains(got, "later") || strings.HasPrefix(got, "0:") {
			t.Errorf("after the time to accept it sends %s", got)
		}
		if s := p.accept(messages.ProtocolHTTP); s.id != "later" {
			t.Errorf("%s is accepted", s.id)
		}
		time.Sleep(acceptPatience)
	})
}

// Kinds that nobody wants, or knows, are refused; a listener that is closed refuses
// what waits too.
func TestRefusedKinds(t *testing.T) {
	p := &peer{t: t, m: New(false)}
	p.m.Attach(p)
	p.say(messages.EncodeReady(messages.Ready{Credit: true, Bytes: true}))
	p.offer("r", "")
	p.offer("s", "smtp")
	p.wantSends("r:closerefused s:closerefused")
	p.offer("h", messages.ProtocolHTTP)
	_ = p.m.HTTP.Close()
	p.offer("i", messages.ProtocolHTTP)
	p.wantSends("i:closerefused h:closerefused")
	if _, err := p.m.HTTP.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := p.m.HTTP.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestNoMoreStreamsThanThereMayBe(t *testing.T) {
	p := newPeer(t)
	for i := range MaxStreams {
		p.raw(fmt.Sprint(i))
	}
	p.offer("one too many", "")
	p.wantSends("one too many:closerefused")
	p.close("7", "reset")
	p.raw("again")
	p.wantSends("")
}

// When both listeners are closed the tunnel ends with its last connection.
func TestClosedListenersEndTheTunnel(t *testing.T) {
	p := newPeer(t)
	s := p.raw("a")
	_ = p.m.HTTP.Close()
	_ = p.m.Raw.Close()
	_, _ = s.Write(make([]byte, 3))
	s.Close()
	if p.closed() != 0 {
		t.Error("the session is closed before all was sent")
	}
	p.wantSends("a:3 a:close")
	if p.closed() != 1000 {
		t.Errorf("the session is closed with %d", p.closed())
	}
	p.m.Ended(nil)
	<-p.m.Done()
	if err := p.m.Err(); err != nil {
		t.Error(err)
	}
}

// A server that makes this side answer and doesn't read the answers may send no
// more at last.
func TestAnswersAreBounded(t *testing.T) {
	p := newPeer(t)
	for i := range maxAnswers + 100 {
		p.data(fmt.Sprint(i), nil)
	}
	if _, passed := p.counts(); passed != 1+maxAnswers {
		t.Errorf("%d messages count as passed on", passed)
	}
	p.next()
	if _, passed := p.counts(); passed != 1+maxAnswers {
		t.Errorf("%d messages count as passed on, while too many answers wait", passed)
	}
	for range 100 {
		p.next()
	}
	if _, passed := p.counts(); passed != 1+maxAnswers+100 {
		t.Errorf("%d messages count as passed on", passed)
	}
}
