package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A page has far more WebSockets and event streams in a day than the client has
// slots, one after another: after each reload of a dev server's page there is a
// new one.
const gosshEnds = 500

// inTurns does something so many times, a few at once, until it fails.
func inTurns(t *testing.T, times int, one func(i int) error) {
	t.Helper()
	const workers = 10
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < times; i += workers {
				if err := one(i); err != nil {
					t.Errorf("number %d: %v", i, err)
					return
				}
			}
		})
	}
	running.Wait()
}

// wantFreeSlots waits until all slots are free.
func (r *gosshRig) wantFreeSlots(t *testing.T) {
	t.Helper()
	eventually(t, patience, "all slots are free again", func() bool { used, _ := r.c.slots(); return used == 0 })
}

// A WebSocket that has ended gives its slot back: closed in order, or because
// its page has gone.
func TestGosshWebSocketSlots(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{opening: 2 * time.Millisecond})
	inTurns(t, gosshEnds, func(i int) error {
		if i%2 == 0 {
			return r.webSocket(100)
		}
		dialer := websocket.Dialer{HandshakeTimeout: r.limit}
		ws, _, err := dialer.Dial(r.s.ws("/websocket"), http.Header{"Host": {r.c.host}})
		if err != nil {
			return err
		}
		defer ws.NetConn().Close() // without a close frame
		if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
			return err
		}
		_ = ws.SetReadDeadline(time.Now().Add(r.limit))
		_, _, err = ws.ReadMessage()
		return err
	})
	r.wantFreeSlots(t)
	if opened := len(r.c.seen("tcp_open")); opened < gosshEnds {
		t.Errorf("%d streams for %d WebSockets", opened, gosshEnds)
	}
	r.check(t)
}

// The end of a WebSocket that was closed in order comes at once: a page waits
// for it before it opens the next.
func TestGosshWebSocketEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	ws, _, err := websocket.DefaultDialer.Dial(r.s.ws("/websocket"), http.Header{"Host": {r.c.host}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(r.limit))
	begun := time.Now()
	_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4123, "bye"))
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4123) {
		t.Errorf("the close is answered with %v", err)
	}
	if n, err := ws.NetConn().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind it comes %d, %v", n, err)
	}
	if took := elapsed(begun); took > time.Second {
		t.Errorf("the end takes %s", took)
	}
	r.wantFreeSlots(t)
}

// An event stream that its visitor has left ends at the service, and gives its
// slot back.
func TestGosshEventStreamSlots(t *testing.T) {
	t.Parallel()
	service := gosshEventServer(t)
	r := gosshOpen(t, tunnelServer(t), gosshScript{opening: 2 * time.Millisecond, service: service})
	inTurns(t, gosshEnds, func(int) error {
		request, err := http.NewRequest("GET", r.s.url("/"), nil)
		if err != nil {
			return err
		}
		request.Host, request.Header = r.c.host, asStream()
		response, err := r.outside.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != 200 {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		_, err = io.ReadFull(response.Body, make([]byte, 9))
		return err
	})
	r.wantFreeSlots(t)
	r.check(t)
}

// gosshEventServer is a service that sends events for ever, and reads on
// meanwhile: as Node does, it ends a connection on which comes what is no
// request.
func gosshEventServer(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	serve := func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
			}
		}()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(conn, "9\r\ndata: 1\n\n\r\n"); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-gone:
				return
			}
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return listener.Addr().String()
}
