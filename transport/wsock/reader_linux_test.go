package wsock

import (
	"bytes"
	"io"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock/kernel"
)

// A target's urgent byte goes nowhere, as ever, and what comes behind it is read, also where
// much comes: the byte is not taken for the end of the stream, and nobody waits at it.
func TestWhatComesBehindAnUrgentByteIsRead(t *testing.T) {
	for name, ends := range map[string]bool{"and the end": true, "and nothing": false} {
		t.Run(name, func(t *testing.T) {
			near, far := testkit.TCPPair(t)
			from, err := near.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewReader(far, ServerHeader)
			if err != nil {
				t.Fatal(err)
			}
			// A buffer full, and enough for a pipe that another one is tried.
			const before, behind = BufferSize - ServerHeader + leastSpliced + 1000, "behind it"
			send := func(b []byte, flags int) {
				_ = from.Control(func(fd uintptr) {
					if err := unix.Sendto(int(fd), b, flags, nil); err != nil {
						t.Error(err)
					}
				})
			}
			send(testkit.Pattern(before), 0)
			send([]byte("!"), unix.MSG_OOB)
			send([]byte(behind), 0)
			if ends {
				_ = near.CloseWrite()
			}
			testkit.Eventually(t, "all has come", func() bool {
				return kernel.BytesAcked(from) >= uint64(before+1+len(behind)) && (!ends || kernel.HasEnded(r.raw))
			})
			piped := 0
			for got := 0; got < before; {
				c, err := r.ReadChunk()
				if err != nil {
					t.Fatalf("after %d of %d bytes: %v", got, before, err)
				}
				if got += c.n; c.pipe != nil {
					piped += c.n
				}
				c.release()
			}
			if piped < leastSpliced {
				t.Errorf("%d bytes came by pipes", piped)
			}
			buf, n, err := r.Read()
			if err != nil || string(buf[ServerHeader:ServerHeader+n]) != behind {
				t.Fatalf("behind the urgent byte come %d bytes, %v", n, err)
			}
			GiveBuffer(buf)
			if !ends {
				return
			}
			if _, _, err := r.Read(); err != io.EOF {
				t.Errorf("at the end comes %v", err)
			}
		})
	}
}

// What has come is read into one buffer or two, and one that was not needed goes back.
func TestReadPair(t *testing.T) {
	for _, size := range []int{1, pairPart, pairPart + 1, PairSize, PairSize + 1} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			near, far := testkit.TCPPair(t)
			r, err := NewReader(far, ServerHeader)
			if err != nil {
				t.Fatal(err)
			}
			sent := testkit.Pattern(size)
			if _, err := near.Write(sent); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "all has come", func() bool {
				n := 0
				_ = r.raw.Control(func(fd uintptr) { n, _ = kernel.Peek(fd, make([]byte, size)) })
				return n == size
			})
			first, second, err := r.ReadPair()
			if err != nil {
				t.Fatal(err)
			}
			if want := min(size, pairPart); first.Len() != want {
				t.Errorf("the first buffer has %d bytes, not %d", first.Len(), want)
			}
			if want := min(size, PairSize) - first.Len(); second.Len() != want {
				t.Errorf("the second buffer has %d bytes, not %d", second.Len(), want)
			}
			for _, c := range []Chunk{first, second} {
				if c.Len() == 0 {
					continue
				}
				got, buf := c.Bytes()
				if !bytes.Equal(got, sent[:len(got)]) {
					t.Error("other bytes came than were sent")
				}
				sent = sent[len(got):]
				GiveBuffer(buf)
			}
			if n := pooled.Held(); n > 0 {
				t.Errorf("%d buffers are held", n)
			}
		})
	}
}
