package mux

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
)

// A session that ends takes everything with it, and everybody hears why.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the Wi-Fi is gone")
		p := newPeer(t)
		s := p.raw("a")
		_, _ = s.Write(make([]byte, outDepth*longest))
		wrote := result(func() error { _, err := s.Write([]byte("x")); return err })
		read := result(func() error { _, err := s.Read(make([]byte, 1)); return err })
		accepted := result(func() error { _, err := p.m.HTTP.Accept(); return err })
		p.offer("b", "")
		synctest.Wait()
		p.m.Ended(why)
		for _, err := range []error{<-wrote, <-read, <-accepted} {
			wantBroken(t, err, "tunnel")
			if !errors.Is(err, why) {
				t.Errorf("the error is %v", err)
			}
		}
		if _, err := p.m.Raw.Accept(); !errors.Is(err, why) {
			t.Errorf("what waits is given out: %v", err)
		}
		<-p.m.Done()
		if !errors.Is(p.m.Err(), why) {
			t.Error(p.m.Err())
		}
		p.wantSends("")
		p.offer("late", "")
		p.m.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		p.wantSends("")
		time.Sleep(time.Minute)
	})
}

// One that ends before tunnel_ready says why, and so does a caller that gives up.
func TestNeverReady(t *testing.T) {
	why := errors.New("limit")
	m := New(true)
	m.Ended(why)
	if _, err := m.Ready(t.Context()); !errors.Is(err, why) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := New(true).Ready(ctx); err != why {
		t.Error(err)
	}
}

// Close resets what is open, and gives what was closed before its time.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		left, open := p.raw("a"), p.http("b")
		for range 8 {
			_, _ = left.Write(make([]byte, messages.Window/8))
			_ = p.sends()
		}
		_, _ = left.Write(make([]byte, 7))
		_, _ = open.Write(make([]byte, 7))
		left.Close()
		p.offer("c", "")
		p.m.Close()
		p.wantSends("b:closereset c:closerefused")
		if _, err := open.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if p.closed() != 0 {
			t.Error("the session is closed before all was sent")
		}
		time.Sleep(closeLinger - 1)
		p.credit("a", 5)
		p.wantSends("a:5")
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		p.wantSends("a:closereset") // a cut one must not look whole
		if p.closed() != 1000 {
			t.Errorf("the session is closed with %d", p.closed())
		}
		time.Sleep(closeLinger)
		synctest.Wait()
		if <-p.m.Done(); !p.wasAborted() {
			t.Error("the session is waited for for ever")
		}
		time.Sleep(time.Minute)
	})
}

// Shutdown waits for the program's connections and for the session's orderly end.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		down := result(func() error { return p.m.Shutdown(context.Background()) })
		wantWaits(t, "Shutdown", down)
		if _, err := p.m.HTTP.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_, _ = s.Write(make([]byte, 9))
		s.Close()
		p.wantSends("a:9 a:close")
		wantWaits(t, "Shutdown", down)
		if p.closed() != 1000 {
			t.Errorf("the session is closed with %d", p.closed())
		}
		p.m.Ended(nil)
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.raw("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		p.wantSends("a:closereset")
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) || p.closed() != 1000 {
			t.Error(err, p.closed())
		}
		time.Sleep(time.Minute)
		if !p.wasAborted() {
			t.Error("the session is waited for for ever")
		}
	})
}

// The server has a moment to look at an answer before it hears of the tunnel's end.
func TestAnswersSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s := p.http("a")
		_, _ = s.Write(make([]byte, 9))
		s.Close()
		down := result(func() error { return p.m.Shutdown(context.Background()) })
		p.wantSends("a:9 a:close")
		time.Sleep(settle - 1)
		if synctest.Wait(); p.closed() != 0 {
			t.Error("the session is closed at once")
		}
		time.Sleep(time.Nanosecond)
		if synctest.Wait(); p.closed() != 1000 {
			t.Errorf("the session is closed with %d", p.closed())
		}
		p.m.Ended(nil)
		<-down
	})
}

// A server that breaks the protocol, and does not answer when it is told so, is not
// waited for until its session is over: that may be its word for years.
func TestProtocolErrorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		p.say([]byte(`{`))
		if p.closed() != 1002 {
			t.Errorf("the session is closed with %d", p.closed())
		}
		time.Sleep(closeLinger + 1)
		synctest.Wait()
		if !p.wasAborted() {
			t.Fatal("the session is waited for for ever")
		}
		if <-p.m.Done(); !errors.Is(p.m.Err(), ErrProtocol) {
			t.Errorf("the tunnel ended with %v", p.m.Err())
		}
	})
}

// Nor is one that accepts a tunnel and never says that it is there.
func TestReadyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t, m: New(true)}
		p.m.Attach(p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := p.m.Ready(ctx); !errors.Is(err, ErrProtocol) {
			t.Errorf("it waits until %v", err)
		}
	})
}
