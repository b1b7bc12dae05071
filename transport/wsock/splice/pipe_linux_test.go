package splice

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"syscall"
	"testing"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

func raw(t *testing.T, conn *net.TCPConn) syscall.RawConn {
	t.Helper()
	c, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fill fills a pipe, and waits for the first bytes.
func fill(t *testing.T, from syscall.RawConn, p *Pipe) (n int) {
	t.Helper()
	var err error
	if e := from.Read(func(fd uintptr) bool {
		n, err = p.Fill(fd)
		return err != syscall.EAGAIN
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return n
}

// wantNone waits until the collector has closed all pipes that nobody has borrowed.
func wantNone(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "all pipes are closed", func() bool {
		runtime.GC()
		return Open() == 0
	})
}

func TestPipesAreBounded(t *testing.T) {
	wantNone(t)
	var all []*Pipe
	for range maxPipes {
		p := Take()
		if p == nil {
			t.Fatalf("%d pipes, and no more", len(all))
		}
		all = append(all, p)
	}
	if Take() != nil {
		t.Errorf("there are more than %d pipes", maxPipes)
	}
	for _, p := range all {
		p.Give()
	}
	all = nil
	if p := Take(); p == nil {
		t.Error("none has come back")
	} else {
		p.Give()
	}
	wantNone(t)
}

// Nobody gets what another one has left behind.
func TestWhatIsLeftInAPipeIsLost(t *testing.T) {
	wantNone(t)
	near, far := testkit.TCPPair(t)
	_, _ = near.Write([]byte("secret"))
	p := Take()
	if fill(t, raw(t, far), p) == 0 {
		t.Fatal("nothing came")
	}
	p.Give()
	if n := Open(); n != 0 {
		t.Errorf("%d pipes are kept", n)
	}
}

func TestEndIsToldFromNothing(t *testing.T) {
	near, far := testkit.TCPPair(t)
	p, from := Take(), raw(t, far)
	defer p.Give()
	_ = from.Control(func(fd uintptr) {
		if n, err := p.Fill(fd); n != 0 || err != syscall.EAGAIN || IsUnfit(err) {
			t.Errorf("before anything has come: %d, %v", n, err)
		}
	})
	near.Close()
	if n := fill(t, from, p); n != 0 {
		t.Errorf("%d bytes at the end", n)
	}
	if _, err := p.Fill(^uintptr(0)); err == nil {
		t.Error("no connection, and no error")
	}
}

// Whatever it is cut into, and however little the other side takes at a time.
func TestBytesPassInOrder(t *testing.T) {
	source, from := testkit.TCPPair(t)
	to, sink := testkit.TCPPair(t)
	_ = to.SetWriteBuffer(32 << 10)
	_ = sink.SetReadBuffer(64 << 10)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	sent := testkit.Pattern(1 << 20)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(1+random.IntN(1<<(1+random.IntN(18))), len(rest))
			_, _ = source.Write(rest[:n])
			rest = rest[n:]
		}
		_ = source.CloseWrite()
	}()
	header := []byte("header")
	var want []byte
	pieces := make(chan int, len(sent))
	go func() {
		defer to.CloseWrite()
		defer close(pieces)
		in, w := raw(t, from), NewWriter(raw(t, to))
		for {
			p := Take()
			n := fill(t, in, p)
			if n == 0 {
				p.Give()
				return
			}
			pieces <- n
			if begun, err := w.Write(header, p); err != nil || !begun {
				t.Errorf("writing fails: %v, %v", begun, err)
			}
			p.Give()
		}
	}()
	got, err := io.ReadAll(sink)
	if err != nil {
		t.Fatal(err)
	}
	for rest := sent; len(rest) > 0; {
		n, more := <-pieces
		if !more || n > most {
			t.Fatalf("a piece of %d bytes, more: %v", n, more)
		}
		want, rest = append(append(want, header...), rest[:n]...), rest[n:]
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, want %d", len(got), len(want))
	}
}

func TestWritingToTheEndFails(t *testing.T) {
	near, far := testkit.TCPPair(t)
	p := Take()
	_, _ = near.Write([]byte("x"))
	fill(t, raw(t, far), p)
	w := NewWriter(raw(t, far))
	far.Close()
	if begun, err := w.Write([]byte("header"), p); err == nil || begun {
		t.Errorf("a closed connection: %v, %v", begun, err)
	}
	p.Give()
	wantNone(t)
}
