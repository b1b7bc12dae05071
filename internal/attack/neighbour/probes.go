package neighbour

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"wsproxy/internal/attack/wire"

	"github.com/gorilla/websocket"
)

// A probe is one kind of request of the neighbour's.
type probe struct {
	name  string
	every time.Duration
	ask   func() error
}

// Large is the name of the requests with large answers, which take longer than
// all others.
const Large = "http-large"

// Small is the name under which all others are measured together.
const Small = "small"

// probes are those of people who type, load pages, and connect anew. They are
// few: the neighbour must not be a load.
func (n *neighbour) probes(ctx context.Context, service net.Addr) []probe {
	kept, fresh := wire.OutsideClient(wire.Source(wire.BlockNeighbour, 3), true), wire.OutsideClient(wire.Source(wire.BlockNeighbour, 4), false)
	openRelay := func() (io.ReadWriteCloser, error) {
		ws, err := wire.DialWS(ctx, wire.Source(wire.BlockNeighbour, 5), n.server, wire.RelayPath(service), 0)
		if err != nil {
			return nil, err
		}
		return &relayStream{ws: ws}, nil
	}
	openRaw := func(t *wire.Tunnel) func() (io.ReadWriteCloser, error) {
		return func() (io.ReadWriteCloser, error) {
			c, err := wire.DialFrom(ctx, wire.Source(wire.BlockNeighbour, 6), t.Raw, 0)
			if err != nil {
				return nil, err
			}
			return &rawStream{c}, nil
		}
	}
	return []probe{
		{"relay", 10 * time.Millisecond, ping(openRelay, true)},
		{"relay-new", 100 * time.Millisecond, ping(openRelay, false)},
		{"raw", 10 * time.Millisecond, ping(openRaw(n.plain), true)},
		{"raw-credit", 10 * time.Millisecond, ping(openRaw(n.credit), true)},
		{"raw-new", 100 * time.Millisecond, ping(openRaw(n.plain), false)},
		// A GET, as clients send again by themselves when the connection that they had
		// kept was closed just then (RFC 9110, section 9.2.2): an idle one may be.
		{"http", 20 * time.Millisecond, n.page(n.plain, kept, "GET", len(smallAnswer))},
		{"http-new", 50 * time.Millisecond, n.page(n.plain, fresh, "POST", len(smallAnswer))},
		{"http-cookies", 50 * time.Millisecond, n.cookies(fresh)},
		{Large, 250 * time.Millisecond, n.page(n.large, kept, "GET", largeAnswer)},
		{"health", 50 * time.Millisecond, n.health(fresh)},
	}
}

// ping sends a byte and waits for it. If keeps, the connection serves all of
// them; one that fails is replaced.
func ping(open func() (io.ReadWriteCloser, error), keeps bool) func() error {
	var c io.ReadWriteCloser
	return func() (err error) {
		if c == nil {
			if c, err = open(); err != nil {
				c = nil
				return err
			}
		}
		one := []byte{'x'}
		if _, err = c.Write(one); err == nil {
			_, err = io.ReadFull(c, one)
		}
		if err != nil || !keeps {
			c.Close()
			c = nil
		}
		return err
	}
}

// A relayStream is a relay's WebSocket as a stream.
type relayStream struct {
	ws *websocket.Conn
}

func (r *relayStream) Write(p []byte) (int, error) {
	_ = r.ws.SetWriteDeadline(time.Now().Add(wire.RequestLimit))
	return len(p), r.ws.WriteMessage(websocket.BinaryMessage, p)
}

// Read reads a message, which is one byte here.
func (r *relayStream) Read(p []byte) (int, error) {
	_ = r.ws.SetReadDeadline(time.Now().Add(wire.RequestLimit))
	_, data, err := r.ws.ReadMessage()
	return copy(p, data), err
}

// Close says goodbye, as a page does.
func (r *relayStream) Close() error {
	_ = r.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	return r.ws.Close()
}

// A rawStream has time limits.
type rawStream struct {
	net.Conn
}

func (r *rawStream) Write(p []byte) (int, error) {
	_ = r.SetDeadline(time.Now().Add(wire.RequestLimit))
	return r.Conn.Write(p)
}

func (r *rawStream) Read(p []byte) (int, error) {
	_ = r.SetDeadline(time.Now().Add(wire.RequestLimit))
	return r.Conn.Read(p)
}

// page asks for a page of a tunnel of the neighbour's.
func (n *neighbour) page(t *wire.Tunnel, client *http.Client, method string, length int) func() error {
	return func() error {
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader("a form")
		}
		request, err := http.NewRequest(method, "http://"+n.server+"/", body)
		if err != nil {
			return err
		}
		request.Host = t.Host
		return ask(client, request, length)
	}
}

// cookies asks for a page as a browser does that has many of them.
func (n *neighbour) cookies(client *http.Client) func() error {
	return func() error {
		request, err := http.NewRequest("GET", "http://"+n.server+"/", nil)
		if err != nil {
			return err
		}
		request.Host = n.plain.Host
		request.Header.Set("Cookie", "session="+strings.Repeat("c", 6<<10))
		return ask(client, request, len(smallAnswer))
	}
}

func (n *neighbour) health(client *http.Client) func() error {
	return func() error {
		request, err := http.NewRequest("GET", "http://"+n.server+"/health", nil)
		if err != nil {
			return err
		}
		return ask(client, request, len("ok"))
	}
}

// ask fails unless all of a good answer comes. A line feed behind it is no fault.
func ask(client *http.Client, request *http.Request, length int) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.Copy(io.Discard, response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d", response.StatusCode)
	case got != int64(length) && got != int64(length)+1:
		return fmt.Errorf("%d bytes of %d", got, length)
	}
	return nil
}
