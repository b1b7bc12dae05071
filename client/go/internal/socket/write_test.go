package socket

import (
	"net"
	"testing"

	"wsproxy/transport/wsock/replay"
)

// nowhere is a TCP connection that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// What a message of a tunnel costs between the session and the kernel.
func BenchmarkMessage(b *testing.B) {
	payload, trailer := make([]byte, 32<<10), make([]byte, replay.TrailerSize)
	ours := &Conn{wire: newWire(&road{nowhere{}, nowhere{}}, false)}
	ours.wire.holds = true
	b.Run("32KiB", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			ours.Write(Binary, payload, trailer)
			_ = ours.Flush()
		}
	})
	b.Run("1KiB", func(b *testing.B) {
		for b.Loop() {
			ours.Write(Binary, payload[:1<<10], trailer)
			_ = ours.Flush()
		}
	})
}
