package display

import (
	"io"
	"testing"
	"time"
)

// What the line of a request costs whoever passes its answer.
func BenchmarkRequestLine(b *testing.B) {
	for name, json := range map[string]bool{"text": false, "JSON": true} {
		b.Run(name, func(b *testing.B) {
			d := New(Options{Out: io.Discard, Err: io.Discard, JSON: json})
			defer d.Close()
			e := exchange()
			e.Path, e.Remote, e.Start = "/some/path?of=a&usual=length", "203.0.113.9:50123", time.Now()
			b.ReportAllocs()
			for b.Loop() {
				d.Ends(e)
			}
			d.mu.Lock()
			left := d.leftOut
			d.mu.Unlock()
			b.ReportMetric(float64(left)/float64(b.N), "left-out/op")
		})
	}
}
