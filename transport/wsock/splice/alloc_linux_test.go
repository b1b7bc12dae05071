//go:build !race

package splice

import (
	"io"
	"testing"

	"wsproxy/internal/testkit"
)

func TestSplicingAllocatesNothing(t *testing.T) {
	source, from := testkit.TCPPair(t)
	to, sink := testkit.TCPPair(t)
	in, w := raw(t, from), NewWriter(raw(t, to))
	data, got, header := make([]byte, 1000), make([]byte, 1004), []byte("head")
	var p *Pipe
	n := 0
	attempt := func(fd uintptr) bool {
		n, _ = p.Fill(fd)
		return n > 0
	}
	if allocs := testing.AllocsPerRun(200, func() {
		_, _ = source.Write(data)
		p = Take()
		_ = in.Read(attempt)
		_, _ = w.Write(header, p)
		p.Give()
		_, _ = io.ReadFull(sink, got[:len(header)+n])
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
