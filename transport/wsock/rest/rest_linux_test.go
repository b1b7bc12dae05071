package rest

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) {
	After = 10 * time.Millisecond
	testkit.VerifyMain(m)
}

func TestBytesStartWhoIsAtRest(t *testing.T) {
	r := newReader(t)
	go r.run()
	for _, text := range []string{"one", "two", "three"} {
		r.awaitRest(t)
		r.say(t, text)
	}
	if n := r.starts.Load(); n < 3 {
		t.Errorf("it was started %d times", n)
	}
	r.awaitRest(t)
	_, _ = io.WriteString(r.peer, "last")
	r.peer.CloseWrite()
	r.want(t, come{"last", nil})
	r.want(t, come{"", io.EOF})
	testkit.Eventually(t, "nobody waits for nobody", func() bool { return Count() == 0 && resting.file == nil })
}

func TestEndsStartWhoIsAtRest(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *reader)
		want error
	}{
		"half closed":        {func(r *reader) { r.peer.CloseWrite() }, io.EOF},
		"reset":              {func(r *reader) { _ = r.peer.SetLinger(0); r.peer.Close() }, syscall.ECONNRESET},
		"closed":             {func(r *reader) { r.Close() }, net.ErrClosed},
		"read no more":       {func(r *reader) { _ = r.CloseRead() }, io.EOF},
		"deadline":           {func(r *reader) { _ = r.SetDeadline(time.Now().Add(5 * After)) }, os.ErrDeadlineExceeded},
		"deadline to read":   {func(r *reader) { _ = r.SetReadDeadline(time.Now().Add(5 * After)) }, os.ErrDeadlineExceeded},
		"deadline that past": {func(r *reader) { _ = r.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t)
			go r.run()
			r.awaitRest(t)
			c.end(r)
			r.want(t, come{"", c.want})
		})
	}
}

// A deadline that is taken back leaves the connection to its reader, for good.
func TestDeadlineTakenBack(t *testing.T) {
	r := newReader(t)
	go r.run()
	r.awaitRest(t)
	_ = r.SetReadDeadline(time.Now().Add(time.Hour))
	_ = r.SetReadDeadline(time.Time{})
	r.say(t, "one")
	wait(5)
	if r.isAtRest() {
		t.Error("it is at rest again")
	}
	r.say(t, "two")
}

// Whoever sets a deadline does so at any moment: before, while and after the reader looks,
// goes to rest, or is started.
func TestDeadlineIsNeverLost(t *testing.T) {
	var all sync.WaitGroup
	for i := range 300 {
		r := newReader(t)
		all.Go(func() {
			go r.run()
			for n := range i % 4 {
				<-time.After(time.Duration(i*n) * After / 300)
				_, _ = io.WriteString(r.peer, "x")
				<-r.got
			}
			<-time.After(time.Duration(i) * After / 100) // from none to three of them
			set := time.Now()
			until := set.Add(time.Duration(i%3) * After)
			_ = r.SetReadDeadline(until)
			switch end, ok := receive(r.got); {
			case !ok:
				t.Errorf("%d: the deadline was lost", i)
			case !errors.Is(end.err, os.ErrDeadlineExceeded):
				t.Errorf("%d: %v", i, end.err)
			case time.Now().Before(until):
				t.Errorf("%d: it was %v early", i, time.Until(until))
			}
		})
	}
	all.Wait()
}

func receive(from <-chan come) (come, bool) {
	select {
	case c := <-from:
		return c, true
	case <-time.After(testkit.Patience):
		return come{}, false
	}
}

// Nobody but a reader that waits for bytes goes to rest, however long the waiting for
// something else takes.
func TestWhoIsHeldUpIsNotAtRest(t *testing.T) {
	r := newReader(t)
	go r.run()
	for range 20 {
		if _, err := io.WriteString(r.peer, "x"); err != nil {
			t.Fatal(err)
		}
		wait(3) // the reader waits for us
		if r.isAtRest() {
			t.Fatal("it is at rest with something in its hands")
		}
		_, _ = io.WriteString(r.peer, "y") // it has come before the reader waits for it
		wait(1)
		r.want(t, come{"x", nil})
		r.want(t, come{"y", nil})
	}
	if n := r.starts.Load(); n > 10 { // a busy machine may leave it without bytes for a look
		t.Errorf("it was at rest %d times", n)
	}
}

// An event that is late means nobody: not the connection that has got the descriptor of
// another one, and not the one that has gone to rest again meanwhile.
func TestLateEventsMeanNobody(t *testing.T) {
	first := newReader(t)
	go first.run()
	first.awaitRest(t)
	token, number := first.token, descriptor(t, first.Conn)
	first.say(t, "x")
	first.awaitRest(t)
	starts := first.starts.Load()
	resting.wake(token)
	if !first.isAtRest() || first.starts.Load() != starts {
		t.Error("an event of its rest before has started it")
	}

	token = first.token
	second := newReader(t)
	file, err := second.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	first.Close()
	for range number { // each gets the lowest descriptor that is free
		again, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		second.Conn = &Conn{TCPConn: again.(*net.TCPConn)}
		if descriptor(t, second.Conn) == number {
			break
		}
	}
	if got := descriptor(t, second.Conn); got != number {
		t.Fatalf("it has got %d, not %d", got, number)
	}
	if second.raw, err = second.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	first.want(t, come{"", net.ErrClosed})
	go second.run()
	second.awaitRest(t)
	resting.wake(token)
	if !second.isAtRest() || second.starts.Load() != 0 {
		t.Error("an event of another connection has started it")
	}
	second.say(t, "y")
}

// Connections that are closed at rest, while events come for them, leave nothing in the
// table, and starve nobody who gets their descriptors.
func TestDescriptorsAreUsedAgain(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				r := newReader(t)
				go r.run()
				r.awaitRest(t)
				_, _ = io.WriteString(r.peer, "x")
				go r.Close()
				for {
					end, ok := receive(r.got)
					if !ok {
						t.Error("it was forgotten")
						return
					}
					if end.err != nil {
						break
					}
				}
			}
		})
	}
	all.Wait()
	testkit.Eventually(t, "the table is empty", func() bool { return Count() == 0 })
}

// Who reads behind the reader doesn't meet the deadline that it has left.
func TestReadingBehindTheReader(t *testing.T) {
	r := newReader(t)
	_, _ = io.WriteString(r.peer, "x")
	if err := r.Await(r.raw, func(fd uintptr) bool { // it has had all that it wants
		n, _ := syscall.Read(int(fd), make([]byte, 1))
		return n == 1
	}); err != nil {
		t.Fatal(err)
	}
	wait(2)
	go func() {
		wait(2)
		_, _ = io.WriteString(r.peer, "end")
		r.peer.CloseWrite()
	}()
	if got, err := io.ReadAll(r); string(got) != "end" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// Nor does it take back one that somebody sets meanwhile.
func TestReadingBehindTheReaderLosesNoDeadline(t *testing.T) {
	r := newReader(t)
	var round, over atomic.Int32
	go func() {
		for n := int32(1); n <= 60_000; n++ {
			for round.Load() < n { // both begin at once
				runtime.Gosched()
			}
			r.takeOver()
			over.Store(n)
		}
	}()
	for n := int32(1); n <= 60_000; n++ {
		r.stays = false // nobody has met it yet
		_ = r.TCPConn.SetReadDeadline(time.Time{})
		round.Store(n)
		for range n % 50 {
			over.Load() // it takes a moment
		}
		_ = r.SetReadDeadline(time.Unix(1, 0))
		for over.Load() < n {
			runtime.Gosched()
		}
		if err := r.raw.Read(func(uintptr) bool { return true }); !errors.Is(err, os.ErrDeadlineExceeded) {
			round.Store(60_000)
			t.Fatalf("the deadline was lost the %dth time: %v", n, err)
		}
	}
}

// Who has read something behind which nothing follows is at rest again without a wait.
func TestRestsAgainSoon(t *testing.T) {
	r := newReader(t)
	attempt := func(fd uintptr) bool {
		_, err := syscall.Read(int(fd), make([]byte, 100))
		return err != syscall.EAGAIN
	}
	await := func(want error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- r.Await(r.raw, attempt) }()
		if err := testkit.Receive(t, done); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	await(ErrDue)
	look := After
	After = time.Hour
	t.Cleanup(func() { After = look })
	for range 3 {
		started := make(chan struct{})
		r.Again(func() { close(started) })
		_, _ = io.WriteString(r.peer, "pong")
		testkit.Receive(t, started)
		await(nil)
		r.Soon()
		await(ErrDue)
	}
	started := make(chan struct{})
	r.Again(func() { close(started) })
	_, _ = io.WriteString(r.peer, "pong")
	testkit.Receive(t, started)
	await(nil)
	_ = r.SetReadDeadline(time.Now().Add(look)) // one who stays doesn't rest, and is not started anew
	r.Soon()
	await(os.ErrDeadlineExceeded)
}
