package play

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"wsproxy/internal/attack/wire"
)

// head begins a request for a host; more are lines.
func head(method, host string, more ...string) []byte {
	return []byte(method + " / HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(more, ""))
}

// tinyFields are fields of 6 bytes, with names that differ.
func tinyFields(n int) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b bytes.Buffer
	for i := range n {
		b.WriteByte(digits[i/36%36])
		b.WriteByte(digits[i%36])
		b.WriteString(":1\r\n")
	}
	return b.Bytes()
}

// manyFields are fields of 7 bytes, of which no two have the same name: 11 MiB.
// Names that differ take a server the most.
func manyFields() []byte {
	const from, to = 36 * 36 * 36, 36 * 36 * 36 * 36 // numbers of four digits
	fields := make([]byte, 0, 7*(to-from))
	for i := from; i < to; i++ {
		fields = strconv.AppendInt(fields, int64(i), 36)
		fields = append(fields, ":\r\n"...)
	}
	return fields
}

// silent is a tunnel whose client reads, and answers nothing.
func (p *playing) silent() (*wire.Tunnel, error) {
	t := &wire.Tunnel{}
	return t, t.Register(p.ctx, one(0), p.Server, "", true)
}

// headersOf: many requests with as many fields as fit. Those that are not
// complete need no tunnel.
func headersOf(addresses int, complete bool) func(p *playing) error {
	return func(p *playing) error {
		t, err := p.silent()
		if err != nil {
			return err
		}
		request := append(head("POST", t.Host, "Content-Length: 1000\r\n"), tinyFields(10_900)...)
		if complete {
			request = append(request, "\r\n"...)
		}
		p.hold(2500, 600, func(i int) (net.Conn, error) {
			return p.write(wire.Source(wire.BlockOutside, i%addresses), p.Server, 0, request)
		})
		return nil
	}
}

const largeBody = 10 << 20

// bodiesTrickle: bodies as large as may be, whose last part comes slowly, so
// that no time limit for a part is met.
func bodiesTrickle(p *playing) error {
	t, err := p.silent()
	if err != nil {
		return err
	}
	request := head("POST", t.Host, fmt.Sprintf("Content-Length: %d\r\n\r\n", largeBody))
	most := make([]byte, largeBody-64<<10)
	// Those that are answered are replaced: at most 200 MB a second.
	p.hold(100, 20, func(i int) (net.Conn, error) {
		c, err := p.write(wire.Source(wire.BlockOutside, i%10), p.Server, 0, request, most)
		if err == nil {
			go func() {
				for p.pause(time.Second) {
					if _, err := c.Write(make([]byte, 100)); err != nil {
						return
					}
				}
			}()
		}
		return c, err
	})
	return nil
}

// bodiesNever: requests that take the slots of somebody else's tunnel.
func bodiesNever(p *playing) error {
	request := head("POST", p.Neighbour.Host, "Content-Length: 1000\r\n\r\n")
	p.hold(300, 300, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i%3), p.Server, 0, request)
	})
	return nil
}

// answersUnread: answers as large as may be, of which nothing is read.
func answersUnread(p *playing) error {
	body := []byte(strings.Repeat("x", largeBody-1))
	t := &wire.Tunnel{Request: func(t *wire.Tunnel, id, _ string) {
		go func() { p.check(t.Answer(id, 200, body)); p.count("answers", 1) }()
	}}
	if err := t.Register(p.ctx, one(0), p.Server, "", true); err != nil {
		return err
	}
	request := append(head("GET", t.Host), "\r\n"...)
	p.paced(100, 100, func(i int) {
		c, err := p.write(wire.Source(wire.BlockOutside, i%10), p.Server, wire.SmallBuffer, request)
		if p.check(err) {
			p.keep(c)
			p.count("asked", 1)
		}
	})
	return nil
}

// idleConnections: connections that have asked once and keep a descriptor.
func idleConnections(addresses int) func(p *playing) error {
	request := []byte("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	return func(p *playing) error {
		p.hold(1100, 1500, func(i int) (net.Conn, error) {
			return p.write(wire.Source(wire.BlockOutside, i%addresses), p.Server, 0, request)
		})
		return nil
	}
}

// pipelined: requests that are sent without waiting, and answers that wait.
func pipelined(p *playing) error {
	t, err := p.silent()
	if err != nil {
		return err
	}
	const batchSize = 20
	health := bytes.Repeat([]byte("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), batchSize)
	tunnelled := bytes.Repeat(append(head("GET", t.Host), "\r\n"...), batchSize)
	p.paced(100, 200, func(i int) {
		batch := health
		if i%2 == 1 {
			batch = tunnelled
		}
		c, err := p.write(wire.Source(wire.BlockOutside, i%10), p.Server, wire.SmallBuffer)
		if !p.check(err) {
			return
		}
		go func() {
			for p.pause(200 * time.Millisecond) {
				if _, err := c.Write(batch); err != nil {
					return
				}
				p.count("requests", batchSize)
			}
		}()
	})
	return nil
}

// handshake is one of a WebSocket without its last line.
const handshake = "GET /relay?host=127.0.0.1&port=9 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

func handshakes(p *playing) error {
	p.hold(2000, 1500, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, []byte(handshake))
	})
	return nil
}

func behindHandshake(p *playing) error {
	behind := append([]byte(handshake+"\r\n"), make([]byte, 64<<10)...)
	p.hold(400, 200, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, behind)
	})
	return nil
}

// queue: requests within the limits of headers that wait for a slot.
func queue(p *playing) error {
	t, err := p.silent()
	if err != nil {
		return err
	}
	request := head("GET", t.Host)
	for i := range 150 {
		request = fmt.Appendf(request, "X-%d: %s\r\n", i, strings.Repeat("v", 400))
	}
	request = append(request, "\r\n"...)
	p.hold(2500, 600, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i%10), p.Server, 0, request)
	})
	return nil
}

// headersKept: headers within the limits, of requests that are never complete.
// What of them is kept is bounded for all together.
func headersKept(p *playing) error {
	request := head("GET", p.Neighbour.Host)
	for i := range 150 {
		request = fmt.Appendf(request, "X-%d: %s\r\n", i, strings.Repeat("v", 400))
	}
	p.hold(800, 400, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i%4), p.Server, 0, request)
	})
	return nil
}
