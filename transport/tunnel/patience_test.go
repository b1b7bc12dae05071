package tunnel

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// readsSlowly reads a little every second until longer than messages.Linger,
// then the rest.
func readsSlowly(t *testing.T, from io.Reader) []byte {
	t.Helper()
	var got []byte
	little := make([]byte, 64<<10)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < messages.Linger+time.Second; <-tick.C {
		n, err := io.ReadFull(from, little)
		if got = append(got, little[:n]...); err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
	}
	rest, err := io.ReadAll(from)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(got)+len(rest), err)
	}
	return append(got, rest...)
}

// An outside peer has as long for its last bytes as it takes some of them.
func TestSlowPeerReadsItsLastBytes(t *testing.T) {
	t.Parallel()
	r := startRig(t, rigOptions{})
	c := r.open()
	_ = c.outside.SetReadBuffer(64 << 10)
	const size = 1 << 20 // waits in the kernel here
	c.holds(size)
	c.Write(testkit.Pattern(size))
	c.EndRead()
	c.EndWrite()
	if got := readsSlowly(t, c.outside); !bytes.Equal(got, testkit.Pattern(size)) {
		t.Errorf("%d bytes came of %d", len(got), size)
	}
	c.outside.Close()
	r.wantStreamClosed(c, "")
}

// So has the client, whatever waits here and in the kernels.
func TestSlowClientReadsItsLastBytes(t *testing.T) {
	t.Parallel()
	r := startRig(t, rigOptions{})
	r.smallBuffers()
	const size = 1 << 20
	r.mux.Control(testkit.Pattern(size))
	r.mux.Finish(messages.ReasonInternal)
	got := readsSlowly(t, r.client.NetConn())
	if end := []byte{0x88}; len(got) < size+12 || !bytes.Equal(got[10:10+size], testkit.Pattern(size)) || !bytes.HasPrefix(got[10+size:], end) {
		t.Errorf("%d bytes came", len(got))
	}
	r.peer.Close()
	r.wantAllClosed()
}
