package pieces

import (
	"encoding/binary"
	"strings"
	"testing"

	"wsproxy/messages"
)

// Wherever a data frame is cut, its header is the same, and nothing of what follows is
// taken for it.
func TestHeaderInPieces(t *testing.T) {
	var h Header
	for _, id := range []string{"", "a", strings.Repeat("x", messages.MaxConnID)} {
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id+"payload"...)
		for size := 1; size <= len(frame); size++ {
			h.Reset()
			rest, whole, ok := []byte(nil), false, true
			data := frame
			for !whole && ok && len(data) > 0 {
				n := min(size, len(data))
				rest, whole, ok = h.Read(data[:n])
				data = data[n:]
			}
			if got := string(rest) + string(data); !whole || !ok || string(h.ID()) != id || got != "payload" {
				t.Fatalf("in pieces of %d bytes the connId %q is %q, whole %t, ok %t, before %q", size, id, h.ID(), whole, ok, got)
			}
		}
	}
}

// A connId that is too long is not waited for.
func TestHeaderThatIsTooLong(t *testing.T) {
	var h Header
	if _, whole, ok := h.Read([]byte{0, 0}); whole || !ok {
		t.Error("half a length is a header, or none")
	}
	rest, _, ok := h.Read(append(binary.BigEndian.AppendUint32(nil, messages.MaxConnID+1)[2:], "rest"...))
	if ok || string(rest) != "rest" {
		t.Errorf("it is one, before %q", rest)
	}
}
