package load

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
	"wsproxy/internal/bench/wire"
)

func tunnelHTTP(fs *flag.FlagSet) func(*bench) error {
	asked := declareRequests(fs)
	bytes := fs.Bool("bytes", false, "register with http=bytes")
	return func(b *bench) error {
		if err := asked.check(); err != nil {
			return err
		}
		t, err := b.OpenTunnel(0, wire.TunnelOptions{Body: *asked.body, Bytes: *bytes})
		if err != nil {
			return err
		}
		return b.requests(asked, t.Host, b.target.Server.PID)
	}
}

func expose(fs *flag.FlagSet) func(*bench) error {
	asked := declareRequests(fs)
	return func(b *bench) error {
		if err := asked.check(); err != nil {
			return err
		}
		service, err := b.NewService(*asked.body)
		if err != nil {
			return err
		}
		if b.target.Expose.Binary == "" {
			return errors.New("it needs the binary of wsproxy, which it starts")
		}
		other, err := process.Expose(b.Context(), b.target.Expose, b.target.Server, service)
		if err != nil {
			return err
		}
		defer other.Stop()
		return b.requests(asked, other.Addr, b.target.Server.PID, other.PID)
	}
}

// requested are the flags of requests.
type requested struct {
	clients  *int
	body     *int64
	duration *time.Duration
}

func declareRequests(fs *flag.FlagSet) requested {
	return requested{
		fs.Int("conc", 16, "how many keep-alive clients"),
		size(fs, "body", 1<<10, "`bytes` in each answer's body"),
		fs.Duration("duration", 5*time.Second, "how long to go on"),
	}
}

func (r requested) check() error {
	if *r.clients < 1 || *r.body > 64<<20 || *r.duration <= 0 {
		return errors.New("-conc must be at least 1, -body at most 64MiB, and -duration more than nothing")
	}
	return nil
}

// requests makes requests for a host, and reports what they cost the processes. None
// may fail.
func (b *bench) requests(asked requested, host string, pids ...int) error {
	pool := make([]*wire.Requester, *asked.clients)
	once := func(i int) error {
		status, err := pool[i].Do()
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("it was answered with status %d", status)
		}
		if err != nil {
			return fmt.Errorf("a request failed: %w", err)
		}
		return nil
	}
	err := b.Parallel(len(pool), wire.OpenLimit, func(i int) error {
		pool[i] = b.NewRequester(i, host, *asked.body)
		return once(i)
	})
	if err != nil {
		return err
	}
	m, err := measure.StartMeter(pids...)
	if err != nil {
		return err
	}
	var took measure.Histogram
	err = b.Parallel(len(pool), len(pool), func(i int) error {
		for m.Since() < *asked.duration && b.Err() == nil {
			start := time.Now()
			if err := once(i); err != nil {
				return err
			}
			took.Record(time.Since(start))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := m.Finish(); err != nil {
		return err
	}
	n := float64(took.Count())
	b.report.Add("requests", n/m.Elapsed.Seconds(), "/s")
	b.report.AddLatency("", &took, "p50", "p99", "max")
	m.AddTo(b.report, 1000/n, "s per 1,000")
	if *asked.body > 0 {
		b.report.Add("cpu_per_gb", m.CPU*1e9/(n*float64(*asked.body)), "s/GB")
	}
	return nil
}
