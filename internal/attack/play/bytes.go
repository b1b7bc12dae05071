package play

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/attack/wire"
)

// asBytes is the query of tunnels whose clients get HTTP as bytes.
const asBytes = "flow=credit&http=bytes"

// window is what flow=credit allows a client at first.
const window = 256 << 10

// bytesAbandoned: requests to a tunnel whose client reads nothing, each given up as
// soon as it was sent. What waits for the client is nobody's any more.
func bytesAbandoned(p *playing) error {
	tunnels := p.ofTunnels(1, asBytes, false, one, nil)
	if len(tunnels) == 0 {
		return nil
	}
	p.keep(tunnels[0].WS.NetConn())
	request := head("GET", tunnels[0].Host, "X: "+strings.Repeat("x", 8<<10)+"\r\n", "\r\n")
	p.paced(1<<30, 1000, func(i int) {
		c, err := p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, request)
		if !p.check(err) || !p.pause(20*time.Millisecond) {
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
		p.count("requests", 1)
	})
	return nil
}

// bytesDownloads: downloads of which outside clients read a little now and then. Each
// client sends what it may, and then more.
func bytesDownloads(p *playing) error {
	const perTunnel = 100
	const answer = "HTTP/1.1 200 OK\r\n\r\n"
	chunk := make([]byte, 32<<10)
	tunnels := p.ofTunnels(4, asBytes, true, each, func(_ int, t *wire.Tunnel) {
		answering := map[string]bool{} // by the goroutine that reads
		t.Data = func(t *wire.Tunnel, id string, _ []byte) {
			if answering[id] {
				return
			}
			answering[id] = true
			go func() {
				err := t.SendData(id, []byte(answer))
				for sent := len(answer); err == nil && sent < 2*window && p.pause(200*time.Millisecond); sent += len(chunk) {
					err = t.SendData(id, chunk)
				}
				p.count("overruns", 1)
			}()
		}
	})
	if len(tunnels) == 0 {
		return nil
	}
	p.hold(perTunnel*len(tunnels), 200, func(i int) (net.Conn, error) {
		t := tunnels[i%len(tunnels)]
		c, err := p.write(wire.Source(wire.BlockOutside, i%40), p.Server, wire.SmallBuffer, head("GET", t.Host), []byte("\r\n"))
		if err != nil {
			return nil, err
		}
		return &slowConn{Conn: c, p: p}, nil
	})
	return nil
}

// A slowConn is read a little once a second.
type slowConn struct {
	net.Conn
	p *playing
}

func (c *slowConn) Read(b []byte) (int, error) {
	if !c.p.pause(time.Second) {
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b)
}

// bytesUpgraded: upgraded connections on which nothing moves, in the place of all HTTP
// slots of some tunnels, and others that want those.
func bytesUpgraded(p *playing) error {
	tunnels := p.ofTunnels(4, asBytes, true, each, func(_ int, t *wire.Tunnel) {
		answered := map[string]bool{} // by the goroutine that reads
		t.Data = func(t *wire.Tunnel, id string, _ []byte) {
			if !answered[id] {
				answered[id] = true
				p.check(t.SendData(id, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")))
			}
		}
	})
	if len(tunnels) == 0 {
		return nil
	}
	p.hold(150*len(tunnels), 500, func(i int) (net.Conn, error) {
		t := tunnels[i%len(tunnels)]
		return p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, head("GET", t.Host, "Connection: Upgrade\r\n", "Upgrade: x\r\n", "\r\n"))
	})
	return nil
}

// bytesTrickle: bodies without an end that come a byte at a time, while the client
// gives no credit and sends interim answers, data and ends for what there is not.
func bytesTrickle(p *playing) error {
	tunnels := p.ofTunnels(4, asBytes, true, each, func(_ int, t *wire.Tunnel) {
		t.Data = func(t *wire.Tunnel, id string, b []byte) {
			if len(b) > 16 { // a head
				p.check(t.SendData(id, []byte("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")))
			}
		}
	})
	if len(tunnels) == 0 {
		return nil
	}
	for _, t := range tunnels {
		go func() {
			unknown := make([]byte, 4)
			for i := uint32(0); p.pause(10 * time.Millisecond); i++ {
				binary.BigEndian.PutUint32(unknown, i)
				id := fmt.Sprintf("%012x", i)
				if t.SendData(id, unknown) != nil || t.Send(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"`+id+`"}`)) != nil {
					return
				}
			}
		}()
	}
	p.hold(400*len(tunnels), 500, func(i int) (net.Conn, error) {
		t := tunnels[i%len(tunnels)]
		c, err := p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, head("POST", t.Host, "Transfer-Encoding: chunked\r\n", "\r\n", "1\r\nx\r\n"))
		if err == nil {
			go func() {
				for p.pause(time.Second) {
					if _, err := c.Write([]byte("1\r\nx\r\n")); err != nil {
						return
					}
					p.count("pieces", 1)
				}
			}()
		}
		return c, err
	})
	return nil
}
