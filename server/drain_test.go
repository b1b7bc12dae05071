package server

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// serveForSignals runs a server until the signals that it is sent end it. The answer
// comes when it has ended.
func serveForSignals(t *testing.T, env ...string) (address string, signals chan<- os.Signal, ended <-chan error) {
	t.Helper()
	s, address := startForRestarts(t, freePorts(t, 2), 2, append(env, "SHUTDOWN_TIMEOUT=1h")...)
	sent, done := make(chan os.Signal, 2), make(chan error, 1)
	go func() { done <- s.serve(sent) }()
	return address, sent, done
}

// statusOf is what a plain GET is answered.
func statusOf(t *testing.T, address, path string) int {
	t.Helper()
	answer, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// Within SHUTDOWN_DELAY a balancer is told to move on, and all that still comes is
// served. A second signal ends it at once.
func TestShutdownDelayLetsSessionsIn(t *testing.T) {
	address, signals, ended := serveForSignals(t, "SHUTDOWN_DELAY=1h")
	signals <- syscall.SIGTERM
	awaitTrue(t, "503 of /health", func() bool { return statusOf(t, address, "/health") == http.StatusServiceUnavailable })
	if status := statusOf(t, address, "/health/live"); status != http.StatusOK {
		t.Errorf("/health/live answers %d", status)
	}
	c := openRestartTunnel(t, address) // fails if it is refused
	c.wantServed()
	select {
	case err := <-ended:
		t.Fatalf("it ended, %v", err)
	default:
	}
	signals <- syscall.SIGTERM
	if err := await(t, "the end by a second signal", ended); err != nil {
		t.Error(err)
	}
}

// After SHUTDOWN_DELAY new sessions are refused, and what lives has all of
// SHUTDOWN_TIMEOUT.
func TestShutdownDelayEnds(t *testing.T) {
	const delay = 200 * time.Millisecond
	address, signals, ended := serveForSignals(t, "SHUTDOWN_DELAY="+delay.String())
	c := openRestartTunnel(t, address)
	signalled := time.Now()
	signals <- syscall.SIGTERM
	// No handshake, which is told after the draining.
	awaitTrue(t, "503 of /tunnel", func() bool { return statusOf(t, address, "/tunnel") == http.StatusServiceUnavailable })
	if took := time.Since(signalled); took < delay {
		t.Errorf("sessions are refused %v after the signal, before %v have passed", took, delay)
	}
	c.wantServed()
	signals <- syscall.SIGTERM
	_ = await(t, "the end by a second signal", ended)
}

// There may be sessions on their way to a server that has none.
func TestShutdownDelayWithoutSessions(t *testing.T) {
	const delay = 200 * time.Millisecond
	_, signals, ended := serveForSignals(t, "SHUTDOWN_DELAY="+delay.String())
	signalled := time.Now()
	signals <- syscall.SIGINT
	_ = await(t, "the end", ended)
	if took := time.Since(signalled); took < delay {
		t.Errorf("it ended after %v, before %v have passed", took, delay)
	}
}
