package mux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/messages"
)

// A taker is a TryWriter that takes up to so many bytes at once.
type taker struct {
	mu      sync.Mutex
	most    int
	direct  int // bytes that TryWrite has taken
	all     bytes.Buffer
	entered chan struct{} // if not nil TryWrite says that it has begun,
	leave   chan struct{} // and waits for this
}

func (w *taker) TryWrite(p []byte) int {
	if w.entered != nil {
		w.entered <- struct{}{}
		<-w.leave
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(p), w.most)
	w.direct += n
	w.all.Write(p[:n])
	return n
}

func (w *taker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(p)
}

func (w *taker) got() (all string, direct int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String(), w.direct
}

// What comes while WriteTo waits goes to its writer before the message counts as passed
// on, what that leaves behind it in order, and what came before in front.
func TestWriteToPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s, w := p.http("a"), &taker{most: 10}
		p.data("a", []byte("before|"))
		type end struct {
			n   int64
			err error
		}
		ended := result(func() end { n, err := s.WriteTo(w); return end{n, err} })
		synctest.Wait()
		p.data("a", []byte("at once|"))
		if all, direct := w.got(); all != "before|at once|" || direct != len("at once|") {
			t.Errorf("%q has come, %d bytes of it at once", all, direct)
		}
		p.data("a", []byte("ten at once, others later|"))
		p.data("a", []byte("behind|"))
		synctest.Wait()
		want := "before|at once|ten at once, others later|behind|"
		if all, direct := w.got(); all != want || direct != len("at once|")+10 {
			t.Errorf("%q has come, %d bytes of it at once", all, direct)
		}
		p.data("a", []byte("last"))
		p.close("a", "eof")
		if e := <-ended; e.n != int64(len(want+"last")) || e.err != nil {
			t.Errorf("it has ended with %+v", e)
		}
		_ = s.Close()
	})
}

// What a writer has taken at once is paid for as what was read is.
func TestWriteToGivesCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t)
		s, w := p.raw("a"), &taker{most: 1 << 20}
		ended := result(func() error { _, err := s.WriteTo(w); return err })
		synctest.Wait()
		for range 2 {
			p.bytes("a", messages.Window/8)
		}
		p.wantSends("a:credit 65536")
		w.mu.Lock()
		w.most = 0
		w.mu.Unlock()
		for range 2 {
			p.bytes("a", messages.Window/8)
			synctest.Wait()
		}
		p.wantSends("a:credit 65536")
		p.close("a", "reset")
		wantBroken(t, <-ended, "reset")
	})
}

// An end that comes while a writer takes something is told when it has, and not before.
func TestWriteToEndsBehindTheWriter(t *testing.T) {
	for name, end := range map[string]func(*peer, *Stream){
		"closed": func(_ *peer, s *Stream) { _ = s.Close() },
		"late":   func(_ *peer, s *Stream) { _ = s.SetReadDeadline(time.Now().Add(-time.Second)) },
		"ended":  func(p *peer, _ *Stream) { p.m.Ended(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(t)
				s, w := p.http("a"), &taker{most: 3, entered: make(chan struct{}), leave: make(chan struct{})}
				ended := result(func() error { _, err := s.WriteTo(w); return err })
				synctest.Wait()
				taken := result(func() bool { p.data("a", []byte("123456")); return true })
				<-w.entered
				end(p, s)
				wantWaits(t, "WriteTo", ended)
				close(w.leave)
				<-taken
				if err := <-ended; err == nil {
					t.Error("it ends without an error")
				}
				all, _ := w.got()
				if want := map[string]string{"closed": "123", "late": "123", "ended": "123456"}[name]; all != want {
					t.Errorf("%q has come", all)
				}
				if name == "late" { // what was left can be read
					_ = s.SetReadDeadline(time.Time{})
					if b := make([]byte, 9); true {
						n, err := s.Read(b)
						if string(b[:n]) != "456" || err != nil {
							t.Errorf("%q is left, %v", b[:n], err)
						}
					}
				}
				_ = s.Close()
			})
		})
	}
}

// ReadFrom sends what comes, large pieces where they stand, and ends as its reader does.
func TestReadFrom(t *testing.T) {
	p := newPeer(t)
	s := p.http("a")
	broken := errors.New("broken")
	for _, c := range []struct {
		from io.Reader
		want string
		err  error
	}{
		{strings.NewReader("small"), "a:5", nil},
		{bytes.NewReader(make([]byte, 32<<10)), "a:32763 a:5", nil},
		{io.MultiReader(strings.NewReader("1"), errorReader{broken}), "a:1", broken},
	} {
		n, err := s.ReadFrom(c.from)
		if err != c.err {
			t.Errorf("the error is %v, want %v", err, c.err)
		}
		if sends := p.sends(); sends != c.want {
			t.Errorf("of %d bytes it sends %q, want %q", n, sends, c.want)
		}
	}
	_ = s.Close()
	if _, err := s.ReadFrom(strings.NewReader("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what was closed takes something, or says %v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A writer that takes less than it was given, and says nothing, doesn't lose the rest in silence.
func TestWriteToNoticesShortWrites(t *testing.T) {
	p := newPeer(t)
	s := p.http("a")
	p.data("a", []byte("123456"))
	p.close("a", "eof")
	if n, err := s.WriteTo(shortWriter{}); n != 5 || err != io.ErrShortWrite {
		t.Errorf("of 6 bytes it writes %d, %v", n, err)
	}
	_ = s.Close()
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }
