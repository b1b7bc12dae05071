package transport

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors"
	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// A deafMeter is for servers whose figures nobody asks for.
type deafMeter struct{}

func (deafMeter) Refused(string, messages.Reason)             {}
func (deafMeter) TunnelStarted()                              {}
func (deafMeter) TunnelEnded(messages.Reason)                 {}
func (deafMeter) RawStarted()                                 {}
func (deafMeter) RawEnded(messages.CloseReason, int64, int64) {}
func (deafMeter) HandlerRestarted()                           {}

// tunnelHouse is a server with tunnels and all their actors, and the address at
// which it listens.
func tunnelHouse(t *testing.T, total int64, timeout time.Duration) (*Server, string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	system := actors.NewSystem(log)
	t.Cleanup(system.Shutdown)
	spawned := func(pid *actor.PID, err error) *actor.PID {
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	limits := spawned(actors.SpawnLimits(system, actors.Bounds{}, nil, log))
	keepalive := NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	s := NewServer(Config{
		Root: system.Root, Policy: netpolicy.New(netpolicy.Options{}), Sources: netpolicy.NewSources(nil),
		Keepalive: keepalive, DialTimeout: patience, Ping: time.Hour, Meter: deafMeter{}, Log: log,
		Tunnels: &Tunnels{
			Limits: limits,
			Actor: spawned(actors.SpawnTunnels(system, actors.Tunnels{
				Limits: limits, Ports: spawned(actors.SpawnPorts(system, 1, 1, log)), PublicURL: "http://*.t.example",
				PortTries: 0, MaxHTTP: 100, MaxConns: 1, StallTimeout: 50 * time.Millisecond, Meter: deafMeter{}, Log: log,
			})),
			Handler: func(subdomain string) *actor.PID { return actors.HandlerPID(system, subdomain) },
			Exists: func(pid *actor.PID) bool {
				_, exists := system.ProcessRegistry.Get(pid)
				return exists
			},
			Domain: "t.example", Dialect: "text", Bind: netip.MustParseAddr("127.0.0.1"),
			Buffer: total, BufferTotal: total, StallTimeout: 50 * time.Millisecond, HTTPTimeout: timeout, MaxBody: 1 << 20,
		},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := s.HTTP()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		receive(t, served)
	})
	return s, listener.Addr().String()
}

// tunnelOf opens a tunnel, and returns its client and its host.
func tunnelOf(t *testing.T, address string) (*websocket.Conn, string) {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/tunnel", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	var ready struct{ TunnelURL string }
	if err := ws.ReadJSON(&ready); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(ready.TunnelURL)
	if err != nil {
		t.Fatal(err)
	}
	return ws, u.Host
}

// Many bodies and long headers for a client that doesn't read, and many answers
// of another one that outside clients don't read: what is held never exceeds
// what it may, and comes back whole.
func TestMemoryOfManyBodiesIsBoundedAndComesBack(t *testing.T) {
	const total = 8 << 20
	s, address := tunnelHouse(t, total, 400*time.Millisecond)
	deaf, deafHost := tunnelOf(t, address)
	busy, busyHost := tunnelOf(t, address)
	go func() {
		body := strings.Repeat("a", 1<<20)
		for {
			var m struct{ Type, ID string }
			if busy.ReadJSON(&m) != nil {
				return
			}
			_ = busy.WriteMessage(websocket.TextMessage, []byte(`{"type":"http_response","id":"`+m.ID+`","status":200,"body":"`+body+`"}`))
		}
	}()

	// Each tunnel may exceed it by its reserve, and by what its reader has read
	// when it sees that there is no more.
	const most = total + 2*(memoryReserve+bufferSize)
	stop, highest := make(chan struct{}), make(chan int64)
	go func() {
		var high int64
		for {
			select {
			case <-stop:
				highest <- high
				return
			default:
				high = max(high, s.links.total.held.Load())
			}
		}
	}()

	var all sync.WaitGroup
	statuses := make(chan int, 1<<10)
	for i := range 16 {
		all.Go(func() {
			for j := range 5 {
				var body io.Reader
				ctx, cancel := context.WithCancel(t.Context())
				host := deafHost
				switch {
				case i%8 == 0:
					host = busyHost
				case (i+j)%2 == 0:
					body = strings.NewReader(strings.Repeat("b", 1<<20-i<<10))
				}
				r, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/", body)
				if err != nil {
					t.Error(err)
				}
				r.Host = host
				r.Header.Set("X-Long", strings.Repeat(`"`, 30<<10))
				answer, err := http.DefaultTransport.RoundTrip(r)
				if err == nil {
					statuses <- answer.StatusCode // its body is not read
				}
				cancel()
			}
		})
	}
	all.Wait()
	seen := map[int]int{}
	for range len(statuses) {
		seen[<-statuses]++
	}
	if seen[504] == 0 || seen[200] == 0 {
		t.Errorf("the answers are %v", seen)
	}
	eventually(t, "what nobody waits for comes back", func() bool {
		return s.links.total.held.Load() <= 2<<20 // the frame that is being written
	})
	close(stop)
	if high := receive(t, highest); high > most {
		t.Errorf("%d bytes were held, %d may be", high, most)
	} else if high < total/4 {
		t.Errorf("no more than %d bytes were held", high)
	}
	deaf.Close()
	busy.Close()
	eventually(t, "all of it comes back", func() bool { return s.links.total.held.Load() == 0 })
}
