package server

import (
	"context"
	"os"
	"time"

	"wsproxy/messages"
)

// serve waits for a signal, drains and ends (protocol, section 12). The error
// says why a listener ended before that; after a signal there is none.
func (s *service) serve(signals <-chan os.Signal) error {
	var sig os.Signal
	select {
	case err := <-s.failed:
		s.log.Error("wsproxy ends because it can't listen any more", "error", err)
		last, cancel := context.WithTimeout(context.Background(), messages.Linger)
		defer cancel()
		s.edge.Drain()
		ended := s.drain()
		s.shutdown()
		s.cut(ended)
		s.close(last)
		s.sumUp()
		return err
	case sig = <-signals:
	}
	second, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case sig := <-signals:
			s.log.Warn("ended at once by a second signal", "signal", sig.String())
			cancel()
		case <-second.Done():
		}
	}()

	if delay := s.holds.Load().ShutdownDelay; delay > 0 {
		s.log.Info("shutting down: /health answers 503; new sessions are refused after the delay; a second signal ends at once", "signal", sig.String(), "delay", delay.String())
		s.edge.Leave()
		wait(second, nil, delay) // sessions or not: others are on their way here
	}
	if second.Err() == nil {
		s.log.Info("draining: no new sessions; a second signal ends at once", "signal", sig.String(), "at_most", s.holds.Load().ShutdownTimeout.String())
	}
	s.edge.Drain()
	ended := s.drain()
	wait(second, ended, s.holds.Load().ShutdownTimeout)
	// All that remains shares one time.
	last, cancelLast := context.WithTimeout(second, messages.Linger)
	defer cancelLast()
	s.shutdown()
	wait(last, ended, messages.Linger)
	s.cut(ended)
	s.close(last)
	s.sumUp()
	return nil
}

// shutdown begins the end of every session.
func (s *service) shutdown() {
	s.edge.AnnounceRestart()
	for _, owner := range s.owners {
		s.system.Root.Send(owner, &messages.Shutdown{})
	}
}

// lastFrames is how long the close frames may take, and the answers to them, that wait for
// nobody: some milliseconds. Without it an end at once would take them from clients that
// read.
const lastFrames = 100 * time.Millisecond

// lastLines is how long the sessions that are cut at the end may take to say so in the
// log: they wait for nobody, so that it is milliseconds, also for many of them. An end
// at once must not seem to be none.
const lastLines = 500 * time.Millisecond

// cut ends the sessions that are left without waiting for anybody, so that each has its
// line. ended is closed when they have.
func (s *service) cut(ended <-chan struct{}) {
	wait(context.Background(), ended, lastFrames)
	for _, owner := range s.owners {
		s.system.Root.Send(owner, &messages.Shutdown{AtOnce: true})
	}
	wait(context.Background(), ended, lastLines)
}

// sumUp writes the last line: what the process was there for.
func (s *service) sumUp() {
	if limited, ok := s.log.Handler().(*limitedHandler); ok {
		limited.limit.tell(time.Now().Add(time.Second)) // all
	}
	served, flows := s.meter.Served(), s.edge.Flows()
	up, down := flows.Relays.Moved()
	from, to := flows.Tunnels.Moved()
	s.log.Info("wsproxy has ended", "relays", served.Relays, "tunnels", served.Tunnels, "raw_connections", served.Raw,
		"relay_bytes_up", up, "relay_bytes_down", down, "tunnel_bytes_from_client", from, "tunnel_bytes_to_client", to,
		"refused", s.refusals.all.Load(), "duration_ms", time.Since(s.began).Milliseconds())
}

// wait waits for ended, if it is not nil, at most for d, and no longer than ctx.
func wait(ctx context.Context, ended <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// drain tells the owners of sessions to admit no more, and returns what is
// closed when all sessions have ended.
func (s *service) drain() <-chan struct{} {
	all := make(chan struct{})
	var each []chan struct{}
	for _, owner := range s.owners {
		ended := make(chan struct{})
		s.system.Root.Send(owner, &messages.Drain{Done: ended})
		each = append(each, ended)
	}
	go func() {
		for _, ended := range each {
			<-ended
		}
		close(all)
	}()
	return all
}

// close ends whatever runs. HTTP answers that are being written have until last
// is done.
func (s *service) close(last context.Context) {
	close(s.stop)
	for _, server := range s.servers {
		// WebSockets are not the HTTP servers' any more.
		if server.Shutdown(last) != nil {
			server.Close()
		}
	}
	if s.front != nil {
		s.front.Flush(last)
	}
	if s.certs != nil {
		s.certs.Close()
	}
	if s.keepalive != nil {
		s.keepalive.Close()
	}
	if s.verifier != nil {
		s.verifier.Close()
	}
	if s.system != nil {
		s.system.Shutdown()
		s.workers.Close()
	}
}
