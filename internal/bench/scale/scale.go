package scale

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
	"wsproxy/internal/bench/wire"
)

// Options say how much.
type Options struct {
	Binary   string
	Env      []string // NAME=VALUE, for the server
	Relays   int
	Tunnels  int
	Storm    int           // how many of the relays outlive their WebSocket, and lose it at once
	Alive    time.Duration // how long all idle
	Pingers  int           // relays beside those, which ping all the time
	Steps    int           // at how many sizes memory is read
	Settle   time.Duration // before it is read
	Calm     time.Duration // how long pings are taken before there are many
	Judge    bool          // fail when the storm or the pings take too long
	Document string        // Markdown file whose part is replaced; "" for none
	Plot     string        // SVG; "" for none
	Log      io.Writer
}

const (
	pingRate = 10                    // of each pinger in a second
	bound    = 10 * time.Second      // for the storm
	look     = 10 * time.Millisecond // how often it is looked whether the storm is over
	answered = 10 * time.Second      // how long each relay may take to answer in the end
	slower   = 2                     // times as long as in the calm a ping may take among many
	room     = 600                   // descriptors beside those of sessions
	longest  = 20 * time.Minute      // beside Alive
	pingSize = 64                    // bytes
	// openRate is how many relays are opened in a second. All at once would have their
	// keepalive at once, too, for as long as they live.
	openRate = 500
)

// A step is what the server had at a size.
type step struct {
	relays, tunnels int
	resident        float64 // MiB
}

// A run is one under way.
type run struct {
	*wire.Run
	Options
	server  *process.Process
	peer    *wire.Peer
	relays  []*relay
	tunnels []*wire.Tunnel
	pings   atomic.Pointer[measure.Histogram] // of the phase
	steps   []step
}

// A relay idles, but for what it is asked in the end.
type relay struct {
	wire.Client
	pinger *wire.Pinger
	echoed chan struct{} // an echo has come
}

// Run runs it, and returns what was not as it should be.
func Run(ctx context.Context, o Options) error {
	// Of one process: both ends of each relay here, and as many in the server.
	if err := measure.RaiseDescriptors(2*(o.Relays+o.Pingers) + o.Tunnels + room); err != nil {
		return fmt.Errorf("%w; fewer -relays need fewer", err)
	}
	dir, err := os.MkdirTemp("", "wsproxy-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := process.Start(ctx, process.Options{Binary: o.Binary, Env: o.Env, Dir: dir})
	if err != nil {
		return err
	}
	defer server.Stop()
	w, err := wire.NewRun(ctx, server.Addr, longest+o.Alive)
	if err != nil {
		return err
	}
	defer w.End()
	r := &run{Run: w, Options: o, server: server}
	found, err := r.all()
	if err != nil {
		if server.Died() {
			err = fmt.Errorf("%w (the server has ended)", err)
		}
		return err
	}
	return found.tell(o, r.steps)
}

// all does everything, in order.
func (r *run) all() (*findings, error) {
	var err error
	f := &findings{}
	if r.peer, err = r.NewPeer(r.Relays + r.Pingers); err != nil {
		return nil, err
	}
	r.phase() // opening, which nobody asks about
	err = r.startPings()
	if err == nil {
		err = r.Sleep(r.Settle)
	}
	calm := r.phase()
	if err == nil {
		err = r.measure(r.Calm)
	}
	if err != nil {
		return nil, err
	}
	f.calm = calm.Quantile(0.99)
	r.phase()
	if err := r.grow(); err != nil {
		return nil, err
	}
	fmt.Fprintf(r.Log, "all idle for %v\n", r.Alive)
	among := r.phase()
	if err := r.measure(r.Alive); err != nil {
		return nil, err
	}
	f.among = among.Quantile(0.99)
	fmt.Fprintf(r.Log, "p99 of pings: %v alone, %v among %d\n", f.calm, f.among, r.Relays)
	if err := r.alive(); err != nil {
		return nil, err
	}
	during := r.phase()
	if f.storm, err = r.storm(); err != nil {
		return nil, err
	}
	f.during = during.Quantile(0.99)
	fmt.Fprintf(r.Log, "%d sessions taken up within %v\n", r.Storm, f.storm)
	return f, r.alive()
}

// measure waits while pings are taken. This process collects no garbage meanwhile, some 0.6 MB
// a second with 200 that ping: where it shares few processors with the server, that would be
// seen in their p99.
func (r *run) measure(d time.Duration) error {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return r.Sleep(d)
}

// phase begins a phase of pings, and returns what will have them.
func (r *run) phase() *measure.Histogram {
	h := new(measure.Histogram)
	r.pings.Store(h)
	return h
}

// startPings opens relays that ping until the end of the run.
func (r *run) startPings() error {
	return r.Parallel(r.Pingers, wire.OpenLimit, func(i int) error {
		c, err := r.peer.OpenClient(i, false, wire.Buffers{Read: 1 << 10, Write: 1 << 10})
		if err != nil {
			return err
		}
		go func() {
			err := r.Paced(wire.ClientPinger(c, pingSize), time.Now().Add(longest+r.Alive), time.Second/pingRate, func(d time.Duration, _ bool) {
				r.pings.Load().Record(d)
			})
			if r.Err() == nil {
				r.Fail(fmt.Errorf("a relay that pings among the others: %w", err))
			}
		}()
		return nil
	})
}

// grow opens relays and tunnels by steps.
func (r *run) grow() error {
	r.relays, r.tunnels = make([]*relay, r.Relays), make([]*wire.Tunnel, r.Tunnels)
	if err := r.note(0, 0); err != nil {
		return err
	}
	for s := range r.Steps {
		first, next := r.Relays*s/r.Steps, r.Relays*(s+1)/r.Steps
		began := time.Now()
		err := r.Parallel(next-first, wire.OpenLimit, func(i int) error {
			if err := r.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / openRate))); err != nil {
				return err
			}
			return r.openRelay(first + i)
		})
		if err == nil {
			err = r.note(next, 0)
		}
		if err != nil {
			return err
		}
	}
	err := r.Parallel(r.Tunnels, wire.OpenLimit, func(i int) (err error) {
		r.tunnels[i], err = r.OpenTunnel(i, wire.TunnelOptions{Body: 100, NoRaw: true})
		return err
	})
	if err != nil {
		return err
	}
	return r.note(r.Relays, r.Tunnels)
}

// note reads the memory at a size.
func (r *run) note(relays, tunnels int) error {
	if err := r.Sleep(r.Settle); err != nil {
		return err
	}
	resident, err := measure.Resident(r.server.PID)
	if err != nil {
		return err
	}
	s := step{relays, tunnels, measure.Mebibytes(resident)}
	r.steps = append(r.steps, s)
	fmt.Fprintf(r.Log, "%d relays, %d tunnels: %.1f MiB\n", s.relays, s.tunnels, s.resident)
	return nil
}

// openRelay opens the i-th relay and uses it a little. Those that outlive their
// WebSocket are spread over all.
func (r *run) openRelay(i int) error {
	resumes := i*r.Storm/r.Relays != (i+1)*r.Storm/r.Relays
	c, err := r.peer.OpenClient(i, resumes, wire.Buffers{Read: 512, Write: 512})
	if err != nil {
		return fmt.Errorf("relay %d: %w", i+1, err)
	}
	l := &relay{c, wire.ClientPinger(c, pingSize), make(chan struct{}, 1)}
	if _, _, err := l.pinger.Ping(); err != nil {
		return fmt.Errorf("relay %d: %w", i+1, err)
	}
	r.relays[i] = l
	go func() { // answers the server's pings, takes up, and hears echoes
		for {
			if err := l.pinger.Receive(nil); err != nil {
				if r.Err() == nil {
					r.Fail(fmt.Errorf("relay %d was lost: %w", i+1, err))
				}
				return
			}
			l.echoed <- struct{}{}
		}
	}()
	return nil
}

// alive asks every relay and every tunnel for an answer.
func (r *run) alive() error {
	err := r.Parallel(len(r.relays), wire.OpenLimit, func(i int) error {
		l := r.relays[i]
		if err := l.pinger.Send(); err != nil {
			return fmt.Errorf("relay %d: %w", i+1, err)
		}
		timeout := time.NewTimer(answered)
		defer timeout.Stop()
		select {
		case <-l.echoed:
			return l.pinger.Verify()
		case <-timeout.C:
			return fmt.Errorf("relay %d does not answer", i+1)
		case <-r.Done():
			return r.Err()
		}
	})
	if err != nil {
		return err
	}
	return r.Parallel(len(r.tunnels), wire.OpenLimit, func(i int) error {
		c := r.NewRequester(i, r.tunnels[i].Host, 100)
		defer c.Close()
		if status, err := c.Do(); err != nil || status != 200 {
			return fmt.Errorf("tunnel %d answers with status %d: %w", i+1, status, err)
		}
		return nil
	})
}

// storm cuts all WebSockets of sessions that outlive them, and waits until all have
// another one.
func (r *run) storm() (took time.Duration, err error) {
	var sessions []*wire.Session
	for _, l := range r.relays {
		if s, ok := l.Client.(*wire.Session); ok {
			sessions = append(sessions, s)
		}
	}
	began := time.Now()
	for _, s := range sessions {
		s.Cut() // its receiver takes it up at once
	}
	for {
		back := 0
		for _, s := range sessions {
			back += int(s.TakeUps())
		}
		if back == len(sessions) {
			return time.Since(began), nil
		}
		if time.Since(began) > 3*bound {
			return 0, fmt.Errorf("of %d sessions %d were taken up within %v", len(sessions), back, 3*bound)
		}
		if err := r.Sleep(look); err != nil {
			return 0, err
		}
	}
}
