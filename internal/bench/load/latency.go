package load

import (
	"errors"
	"flag"
	"runtime"
	"sync/atomic"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/wire"
)

// warmUp is how many pings of each connection are not measured.
const warmUp = 50

func relayLatency(fs *flag.FlagSet) func(*bench) error {
	conns := fs.Int("conns", 1, "how many relays")
	size := fs.Int("size", 64, "`bytes` of a ping")
	duration := fs.Duration("duration", 5*time.Second, "how long to go on")
	rate := fs.Int("rate", 0, "how many pings all send in a second together, whatever has come back; 0 for as fast as they go")
	resume := fs.Bool("resume", false, "relays outlive their WebSocket")
	return func(b *bench) error {
		if *conns < 1 || *size < wire.SmallestPing || *size > 64<<10 || *duration <= 0 || *rate < 0 {
			return errors.New("-conns must be at least 1, -size from 24 to 65536, -duration more than nothing")
		}
		if err := measure.RaiseDescriptors(2**conns + 100); err != nil {
			return err
		}
		// With as many threads as processors, the load's own would get into each other's
		// way and into the server's.
		half := max(runtime.NumCPU()/2, 1)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(half, runtime.GOMAXPROCS(0))))
		pingers, err := b.pingers(*conns, *size, *resume)
		if err != nil {
			return err
		}
		m, err := measure.StartMeter(b.target.Server.PID)
		if err != nil {
			return err
		}
		var took measure.Histogram
		var late atomic.Int64
		err = b.Parallel(*conns, *conns, func(i int) error {
			if *rate == 0 {
				return flatOut(pingers[i], m, *duration, &took)
			}
			interval := time.Duration(*conns) * time.Second / time.Duration(*rate)
			return b.Paced(pingers[i], time.Now().Add(*duration), interval, func(d time.Duration, isLate bool) {
				took.Record(d)
				if isLate {
					late.Add(1)
				}
			})
		})
		if err != nil {
			return err
		}
		if err := m.Finish(); err != nil {
			return err
		}
		b.report.AddLatency("", &took, "p50", "p90", "p99", "p99.9", "max")
		m.AddTo(b.report, 1e6/float64(max(took.Count(), 1)), "µs per ping")
		b.report.Note("%d pings over %d relays", took.Count(), *conns)
		if *rate > 0 {
			b.report.Add("late", float64(late.Load()), "")
		}
		return nil
	}
}

// pingers opens relays that were used a little.
func (b *bench) pingers(n, size int, resume bool) ([]*wire.Pinger, error) {
	p, err := b.NewPeer(n)
	if err != nil {
		return nil, err
	}
	pingers := make([]*wire.Pinger, n)
	return pingers, b.Parallel(n, wire.OpenLimit, func(i int) error {
		c, err := p.OpenClient(i, resume, wire.Buffers{Read: 4 << 10, Write: size + 100})
		if err != nil {
			return err
		}
		pingers[i] = wire.ClientPinger(c, size)
		for range warmUp {
			if _, _, err := pingers[i].Ping(); err != nil {
				return err
			}
		}
		return nil
	})
}

func flatOut(p *wire.Pinger, m *measure.Meter, duration time.Duration, took *measure.Histogram) error {
	for m.Since() < duration {
		_, whole, err := p.Ping()
		if err != nil {
			return err
		}
		took.Record(whole)
	}
	return nil
}
