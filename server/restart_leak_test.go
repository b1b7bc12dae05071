package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
)

// leakTunnels is how many tunnels are ended in each way, and how many of them
// live at once when the server drains.
const leakTunnels = 100

// A footprint is what a server may leave behind.
type footprint struct {
	goroutines  int
	descriptors int
	held        []int           // ports of its range that are in use
	actors      map[string]bool // all processes of the actor system by id; nil without a server
}

func takeFootprint(t *testing.T, s *service, first int) footprint {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	f := footprint{descriptors: len(descriptors), goroutines: 1 + bytes.Count(stacks, []byte("\ngoroutine ")) -
		bytes.Count(stacks, []byte("\nwsproxy/actors/supervise.(*Workers).serve("))} // of these some are kept
	for port := first; port < first+leakTunnels; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			f.held = append(f.held, port)
			continue
		}
		l.Close()
	}
	if s != nil {
		f.actors = make(map[string]bool)
		for _, bucket := range s.system.ProcessRegistry.LocalPIDs.LocalPIDs {
			for _, id := range bucket.Keys() {
				f.actors[id] = true
			}
		}
	}
	return f
}

// wantFootprint waits until no more is there than before.
func wantFootprint(t *testing.T, s *service, first int, before footprint) {
	t.Helper()
	var now footprint
	defer func() {
		if t.Failed() {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Logf("before: %+v\nnow: %+v\n%s", before, now, &stacks)
		}
	}()
	awaitTrue(t, "goroutines, descriptors, ports and actors as they were", func() bool {
		now = takeFootprint(t, s, first)
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors &&
			slices.Equal(now.held, before.held) && maps.Equal(now.actors, before.actors)
	})
}

// busy gives a tunnel a raw connection that echoes and a request that waits,
// whose status comes by the channel.
func (c *restartTunnel) busy() (conn net.Conn, status <-chan int) {
	c.t.Helper()
	conn = c.dial()
	await(c.t, "tcp_open", c.conns)
	c.wantEcho(conn)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := c.get("/hang")
		answered <- status
	}()
	await(c.t, "the request that hangs", c.hung)
	return conn, answered
}

// wantReset waits for the end of a raw connection, which is no orderly one.
func (c *restartTunnel) wantReset(conn net.Conn) {
	c.t.Helper()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("a raw connection ends with %v, want a reset", err)
	}
	conn.Close()
}

// close ends a tunnel's client, whose WebSocket ends with a code, 0 for any.
func (c *restartTunnel) close(code int) {
	c.t.Helper()
	if code == 0 {
		c.ws.Close()
	}
	var end *websocket.CloseError
	if err := await(c.t, "the tunnel's end", c.ended); code != 0 && (!errors.As(err, &end) || end.Code != code) {
		c.t.Errorf("a tunnel ends with %v, want %d", err, code)
	}
	c.ws.Close()
}

// Tunnels whose handlers fail leave nothing, neither those that live on and are
// closed by their clients nor those that end by it.
func TestFailedHandlersLeaveNothing(t *testing.T) {
	first := freePorts(t, leakTunnels)
	s, address := startForRestarts(t, first, leakTunnels, "MAX_CONNS_PER_IP=0")
	t.Cleanup(func() { s.close(t.Context()) })
	ways := []func(*restartTunnel){
		func(c *restartTunnel) {
			conn, status := c.busy()
			c.fail()
			if got := await(t, "the answer", status); got != http.StatusBadGateway {
				t.Errorf("a request that waited is answered %d, want 502", got)
			}
			c.wantReset(conn)
			conn, status = c.busy() // it lives on
			c.close(0)
			if got := await(t, "the answer", status); got != http.StatusBadGateway {
				t.Errorf("a request that waited is answered %d, want 502", got)
			}
			conn.Close()
		},
		func(c *restartTunnel) {
			for range 9 {
				c.fail()
			}
			conn, status := c.busy()
			c.fail()
			if got := await(t, "the answer", status); got != http.StatusBadGateway {
				t.Errorf("a request that waited is answered %d, want 502", got)
			}
			c.wantReset(conn)
			c.close(websocket.CloseInternalServerErr)
		},
	}
	run := func(times int) {
		for range times {
			for _, way := range ways {
				way(openRestartTunnel(t, address))
			}
		}
	}
	idle := takeFootprint(t, s, first)
	run(1) // whatever is made once is made now
	var before footprint
	awaitTrue(t, "a server at rest", func() bool {
		last := before
		before = takeFootprint(t, s, first)
		return maps.Equal(before.actors, idle.actors) && before.goroutines == last.goroutines && before.descriptors == last.descriptors
	})
	run(leakTunnels)
	wantFootprint(t, s, first, before)

	ports := make(map[int]bool) // the pool has all of them again
	for range leakTunnels {
		ports[openRestartTunnel(t, address).port] = true
	}
	if len(ports) != leakTunnels {
		t.Errorf("%d of %d ports are lent", len(ports), leakTunnels)
	}
}

// A server that drains leaves nothing of the tunnels that it ends.
func TestDrainedTunnelsLeaveNothing(t *testing.T) {
	first := freePorts(t, leakTunnels)
	before := takeFootprint(t, nil, first)
	for range 2 {
		s, address := startForRestarts(t, first, leakTunnels, "MAX_CONNS_PER_IP=0", "MAX_TUNNEL_HTTP_PER_IP=1000", "SHUTDOWN_TIMEOUT=10ms")
		idle := takeFootprint(t, s, first)
		var tunnels []*restartTunnel
		var conns []net.Conn
		var statuses []<-chan int
		for range leakTunnels {
			c := openRestartTunnel(t, address)
			conn, status := c.busy()
			tunnels, conns, statuses = append(tunnels, c), append(conns, conn), append(statuses, status)
		}
		if now := takeFootprint(t, s, first); len(now.held) != leakTunnels || len(now.actors) < len(idle.actors)+3*leakTunnels {
			t.Errorf("%d tunnels hold %d ports, %d actors are there: the test proves nothing", leakTunnels, len(now.held), len(now.actors))
		}

		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGTERM
		exit := make(chan error, 1)
		go func() { exit <- s.serve(signals) }()
		for i, c := range tunnels {
			if got := await(t, "the answer", statuses[i]); got != http.StatusServiceUnavailable {
				t.Errorf("a request that waited is answered %d, want 503", got)
			}
			c.wantReset(conns[i])
			c.close(websocket.CloseGoingAway)
		}
		if err := await(t, "the server's end", exit); err != nil {
			t.Error(err)
		}
		if now := takeFootprint(t, s, first); !maps.Equal(now.actors, idle.actors) {
			t.Errorf("%d actors are left, there were %d", len(now.actors), len(idle.actors))
		}
		wantFootprint(t, nil, first, before)
	}
}
