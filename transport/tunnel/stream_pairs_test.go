package tunnel

import (
	"bytes"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// Where much comes it is read two buffers at a time, in order, and no more than the client
// has given credit for.
func TestMuchIsReadTwoBuffersAtATime(t *testing.T) {
	for name, credit := range map[string]bool{"credit": true, "no credit": false} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: credit})
			c := r.open()
			block := testkit.Pattern(1 << 20)
			go func() {
				for err := error(nil); err == nil; {
					_, err = c.outside.Write(block)
				}
			}()
			want, pairs, last := block, 0, 0
			for read, granted := 0, messages.Window; pairs < 3; {
				m := r.clientReads()
				if n := min(len(m.data), len(want)); !bytes.Equal(m.data[:n], want[:n]) || !bytes.Equal(m.data[n:], block[:len(m.data)-n]) {
					t.Fatalf("after %d bytes come others than were sent", read)
				} else if want = want[n:]; len(want) == 0 {
					want = block[len(m.data)-n:]
				}
				if read += len(m.data); credit && read > granted {
					t.Fatalf("%d bytes came, of %d that were allowed", read, granted)
				}
				if last == wsock.PairSize/2 && len(m.data) == last {
					pairs++
				}
				if last = len(m.data); granted-read < messages.Window/2 {
					c.Credit(messages.Window / 2)
					granted += messages.Window / 2
				}
			}
		})
	}
}
