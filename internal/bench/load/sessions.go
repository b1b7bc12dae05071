package load

import (
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/wire"
)

func relayIdle(fs *flag.FlagSet) func(*bench) error {
	n := fs.Int("n", 3000, "how many relays")
	settle := fs.Duration("settle", 3*time.Second, "how long they idle before the memory is read")
	resume := fs.Bool("resume", false, "relays outlive their WebSocket")
	return func(b *bench) error {
		if *n < 1 || *settle <= 0 {
			return errors.New("-n must be at least 1, and -settle more than nothing")
		}
		if err := measure.RaiseDescriptors(2**n + 100); err != nil {
			return err
		}
		p, err := b.NewPeer(*n)
		if err != nil {
			return err
		}
		m, err := measure.StartMeter(b.target.Server.PID)
		if err != nil {
			return err
		}
		const pingSize = 1 << 10
		clients := make([]wire.Client, *n)
		err = b.Parallel(*n, wire.OpenLimit, func(i int) error {
			c, err := p.OpenClient(i, *resume, wire.Buffers{Read: 512, Write: pingSize + 100})
			if err == nil {
				clients[i] = c
				_, _, err = wire.ClientPinger(c, pingSize).Ping()
			}
			if err != nil {
				return fmt.Errorf("relay %d of %d: %w", i+1, *n, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		var over atomic.Bool
		var readers sync.WaitGroup
		for _, c := range clients {
			readers.Go(func() { // answers the server's pings
				if _, err := c.Receive(make([]byte, 1)); !over.Load() {
					b.Fail(fmt.Errorf("a relay was lost while it idled: %v", err))
				}
			})
		}
		if err := b.Sleep(*settle); err != nil {
			return err
		}
		over.Store(true)
		if err := m.Finish(); err != nil {
			return err
		}
		b.report.Add("bytes_per_relay", (m.After-m.Before)*(1<<20)/float64(*n), "B")
		m.AddTo(b.report, 1000/float64(*n), "s per 1,000")
		b.report.Note("%d relays that have carried 1 KiB each way, idle for %v", *n, *settle)
		b.End()
		readers.Wait()
		return nil
	}
}

func relayConnect(fs *flag.FlagSet) func(*bench) error {
	workers := fs.Int("conc", 8, "how many workers open relays at the same time")
	duration := fs.Duration("duration", 5*time.Second, "how long to go on")
	resume := fs.Bool("resume", false, "relays outlive their WebSocket")
	return func(b *bench) error {
		if *workers < 1 || *duration <= 0 {
			return errors.New("-conc must be at least 1, and -duration more than nothing")
		}
		const ports, pingSize = 20_000, 64
		p, err := b.NewPeer(ports)
		if err != nil {
			return err
		}
		m, err := measure.StartMeter(b.target.Server.PID)
		if err != nil {
			return err
		}
		var first measure.Histogram
		var opened, unanswered atomic.Int64
		err = b.Parallel(*workers, *workers, func(int) error {
			for m.Since() < *duration {
				start := time.Now()
				c, err := p.OpenClient(int(opened.Add(1)), *resume, wire.Buffers{Read: 1 << 10, Write: pingSize + 100})
				if err != nil {
					return err
				}
				ready := time.Since(start)
				came, _, err := wire.ClientPinger(c, pingSize).Ping()
				if err != nil {
					return err
				}
				first.Record(ready + came)
				if !c.Close() {
					unanswered.Add(1)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := m.Finish(); err != nil {
			return err
		}
		n := float64(first.Count())
		b.report.Add("relays", n/m.Elapsed.Seconds(), "/s")
		b.report.AddLatency("first_byte_", &first, "p50", "p99", "max")
		m.AddTo(b.report, 1000/n, "s per 1,000")
		b.report.Add("closes_unanswered", float64(unanswered.Load()), "")
		return nil
	}
}
