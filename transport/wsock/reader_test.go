package wsock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

func TestReaderReturnsWhatCameInOrder(t *testing.T) {
	near, far := testkit.TCPPair(t)
	r, err := NewReader(far, ServerHeader)
	if err != nil {
		t.Fatal(err)
	}
	sent := testkit.Pattern(300_000)
	go func() {
		_, _ = near.Write(sent)
		_ = near.CloseWrite()
	}()
	var got []byte
	for {
		buf, n, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n > BufferSize-ServerHeader {
			t.Fatalf("%d bytes in one buffer leave no room for a header", n)
		}
		got = append(got, buf[ServerHeader:ServerHeader+n]...)
		GiveBuffer(buf)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came, of %d", len(got), len(sent))
	}
	if _, _, err := r.Read(); err != io.EOF {
		t.Errorf("after the end it returns %v", err)
	}
}

// The one thing that makes an idle session cheap.
func TestIdleReadersHoldNoBuffer(t *testing.T) {
	if n := pooled.Held(); n > 0 {
		t.Fatalf("%d buffers are held before the test", n)
	}
	const readers = 50
	waiting, ended := make(chan bool, readers), make(chan error, readers)
	var peers []*net.TCPConn
	for range readers {
		near, far := testkit.TCPPair(t)
		peers = append(peers, near)
		r, err := NewReader(far, 0)
		if err != nil {
			t.Fatal(err)
		}
		try := r.attempt
		r.attempt = func(fd uintptr) bool {
			done := try(fd)
			if !done {
				waiting <- r.buf == nil
			}
			return done
		}
		go func() {
			buf, n, err := r.Read()
			if err == nil && (n != 1 || buf[0] != 'x') {
				err = errors.New("wrong bytes")
			}
			if err == nil {
				GiveBuffer(buf)
			}
			ended <- err
		}()
	}
	for range readers {
		if !testkit.Receive(t, waiting) {
			t.Error("a reader waits with a buffer in its hand")
		}
	}
	if n := pooled.Held(); n > 0 {
		t.Errorf("%d buffers are held by %d idle readers", n, readers)
	}
	for _, peer := range peers {
		_, _ = peer.Write([]byte("x"))
	}
	for range readers {
		if err := testkit.Receive(t, ended); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitingReaderEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(near, far *net.TCPConn)
		want func(error) bool
	}{
		"by the peer's end":   {func(near, _ *net.TCPConn) { near.Close() }, func(err error) bool { return err == io.EOF }},
		"by a deadline":       {func(_, far *net.TCPConn) { _ = far.SetReadDeadline(LongAgo) }, testkit.IsTimeout},
		"by a later deadline": {func(_, far *net.TCPConn) { _ = far.SetReadDeadline(time.Now().Add(time.Millisecond)) }, testkit.IsTimeout},
		"by closing":          {func(_, far *net.TCPConn) { far.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		"by a reset": {func(near, _ *net.TCPConn) { _ = near.SetLinger(0); near.Close() },
			func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
	} {
		for kind, read := range map[string]func(*Reader) error{
			"one buffer":  func(r *Reader) error { _, _, err := r.Read(); return err },
			"two buffers": func(r *Reader) error { _, _, err := r.ReadPair(); return err },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				near, far := testkit.TCPPair(t)
				r, err := NewReader(far, 0)
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- read(r) }()
				c.end(near, far)
				if err := testkit.Receive(t, ended); !c.want(err) {
					t.Errorf("it returns %v", err)
				}
				if n := pooled.Held(); n > 0 {
					t.Errorf("%d buffers are held", n)
				}
			})
		}
	}
}

func TestReaderOfAClosedConnection(t *testing.T) {
	_, far := testkit.TCPPair(t)
	r, err := NewReader(far, 0)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	if _, _, err := r.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it returns %v", err)
	}
}
