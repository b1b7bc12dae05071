package transport_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

var messageSizes = []int{64, 4 << 10, 64 << 10}

// pumpUp sends count messages of size bytes up and reads them at the target.
// Small ones go out many at a time, or the client's system calls would be all
// that is measured.
func pumpUp(t testing.TB, v *session, size, count int) {
	batch := max(1, 32<<10/size)
	frame, buf := upFrame(size), make([]byte, 128<<10)
	frames := bytes.Repeat(frame, batch)
	failed := make(chan error, 1)
	go func() {
		for left := count; left > 0; left -= batch {
			if _, err := v.client.Write(frames[:min(left, batch)*len(frame)]); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for left := size * count; left > 0; {
		n, err := v.target.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// pumpDown sends count messages of size bytes down and reads them at the client.
func pumpDown(t testing.TB, v *session, size, count int) {
	p := make([]byte, size)
	failed := make(chan error, 1)
	go func() {
		for range count {
			if _, err := v.target.Write(p); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	if err := v.readPayload(size * count); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// times returns how many times as long theirs takes as ours: the median of
// rounds in which they take turns, so that what else the machine does meets
// both.
func times(ours, theirs func()) float64 {
	clock := func(run func()) float64 {
		started := time.Now()
		run()
		return time.Since(started).Seconds()
	}
	ratios := make([]float64, 9)
	for i := range ratios {
		ratios[i] = clock(theirs) / clock(ours)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func BenchmarkRelay(b *testing.B) {
	for _, direction := range []struct {
		name string
		pump func(t testing.TB, v *session, size, count int)
	}{{"up", pumpUp}, {"down", pumpDown}} {
		for _, size := range messageSizes {
			b.Run(fmt.Sprintf("%s/%dB", direction.name, size), func(b *testing.B) {
				target := listen(b)
				v := newStand(b).open(b, target)
				plain := newBaseline(b, target.Addr().String()).open(b, target)
				direction.pump(b, v, size, 100)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				direction.pump(b, v, size, b.N)
				b.StopTimer()
				count := min(100_000, 32<<20/size)
				b.ReportMetric(times(
					func() { direction.pump(b, v, size, count) },
					func() { direction.pump(b, plain, size, count) }), "x-gorilla")
			})
		}
	}
}

// BenchmarkRoundTrip is one message up and the same number of bytes down, with
// nothing else under way: what a keystroke costs.
func BenchmarkRoundTrip(b *testing.B) {
	target := listen(b)
	frame, buf := upFrame(64), make([]byte, 64)
	trip := func(v *session) {
		if _, err := v.client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(v.target, buf); err != nil {
			b.Fatal(err)
		}
		if _, err := v.target.Write(buf); err != nil {
			b.Fatal(err)
		}
		if err := v.readPayload(64); err != nil {
			b.Fatal(err)
		}
	}
	v := newStand(b).open(b, target)
	plain := newBaseline(b, target.Addr().String()).open(b, target)
	trips := func(v *session) func() {
		return func() {
			for range 1000 {
				trip(v)
			}
		}
	}
	trips(v)()
	b.ReportAllocs()
	for b.Loop() {
		trip(v)
	}
	b.StopTimer()
	b.ReportMetric(times(trips(v), trips(plain)), "x-gorilla")
}

// memory returns what the process holds for live objects and stacks.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkIdleSession reports the bytes that a session holds while nothing
// happens, after it has been used once. The client's and the target's ends are
// in this process too; what they cost by themselves is measured and taken off.
func BenchmarkIdleSession(b *testing.B) {
	const sessions = 1000
	measure := func(b *testing.B, s *stand, target *net.TCPListener) float64 {
		before := memory()
		visits := make([]*session, sessions)
		for i := range visits {
			v := s.open(b, target)
			visits[i] = v
			if _, err := v.client.Write(upFrame(10)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(v.target, make([]byte, 10)); err != nil {
				b.Fatal(err)
			}
		}
		bytes := float64(memory()-before) / sessions
		for _, v := range visits {
			v.close()
		}
		return bytes
	}
	bare := func(b *testing.B) float64 { // two pairs' far ends, which the client and the target have
		l := listen(b)
		before := memory()
		conns := make([]net.Conn, 2*sessions)
		for i := range conns {
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
		}
		bytes := float64(memory()-before) / sessions
		for _, c := range conns {
			c.Close()
		}
		return bytes
	}(b)
	target := listen(b)
	s, plain := newStand(b), newBaseline(b, target.Addr().String())
	s.open(b, target)
	plain.open(b, target)
	var ours, theirs float64
	for b.Loop() {
		ours = measure(b, s, target) - bare
		theirs = measure(b, plain, target) - bare
	}
	b.ReportMetric(ours, "B/session")
	b.ReportMetric(theirs, "B/gorilla-session")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkConnect is a whole session: handshake, dial, one message, the end.
func BenchmarkConnect(b *testing.B) {
	target := listen(b)
	s := newStand(b)
	frame, buf := upFrame(10), make([]byte, 10)
	for b.Loop() {
		v := s.open(b, target)
		if _, err := v.client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(v.target, buf); err != nil {
			b.Fatal(err)
		}
		v.close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
}
