package play

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"wsproxy/internal/attack/wire"

	"github.com/gorilla/websocket"
)

// gosshHeaders: the client that gets requests as bytes answers each with a head
// of 10 MiB.
func gosshHeaders(p *playing) error {
	const step = 60_000
	fields := manyFields()
	answering := map[string]bool{} // by the goroutine that reads
	t := &wire.Tunnel{
		Request: func(t *wire.Tunnel, id, path string) { // the barrier: a path that is none
			if !strings.HasPrefix(path, "/") {
				_ = t.Answer(id, 400, nil)
			}
		},
		Data: func(t *wire.Tunnel, id string, _ []byte) {
			if answering[id] {
				return
			}
			answering[id] = true
			go func() {
				p.count("answers", 1)
				err := t.SendData(id, []byte("HTTP/1.1 200 OK\r\n"))
				for rest := fields; len(rest) > 0 && err == nil && p.ctx.Err() == nil; rest = rest[min(step, len(rest)):] {
					err = t.SendData(id, rest[:min(step, len(rest))])
					p.count("KiB", step>>10)
				}
			}()
		},
	}
	if err := t.Register(p.ctx, one(0), p.Server, "control=gossh", true); err != nil {
		return err
	}
	request := append(head("GET", t.Host, "Accept: text/event-stream\r\nConnection: close\r\n"), "\r\n"...)
	p.hold(16, 100, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i), p.Server, 0, request)
	})
	return nil
}

// jsonFields are fields of 10 bytes, so that two million are below what a message
// may have.
func jsonFields(n int) []byte {
	const from, names = 36 * 36 * 36, 1_632_000 // numbers of four digits
	fields := make([]byte, 0, 10*n)
	for i := range n {
		fields = append(fields, '"')
		fields = strconv.AppendInt(fields, int64(from+i%names), 36)
		fields = append(fields, `":"",`...)
	}
	return fields[:len(fields)-1]
}

// jsonHeaders: answers as JSON whose headers are many.
func jsonHeaders(p *playing) error {
	fields := jsonFields(2_000_000)
	tunnels := p.ofTunnels(16, "", true, each, func(_ int, t *wire.Tunnel) {
		t.Request = func(t *wire.Tunnel, id, _ string) {
			begin := fmt.Sprintf(`{"type":"http_response","id":"%s","status":200,"headers":{`, id)
			go func() {
				p.check(t.Send(websocket.TextMessage, []byte(begin), fields, []byte(`},"body":""}`)))
				p.count("answers", 1)
			}()
		}
	})
	p.hold(len(tunnels), 100, func(i int) (net.Conn, error) {
		return p.write(wire.Source(wire.BlockOutside, i), p.Server, 0, append(head("GET", tunnels[i].Host), "Connection: close\r\n\r\n"...))
	})
	return nil
}

// nesting: messages that a parser could follow into the depth.
func nesting(p *playing) error {
	const size = 20 << 20
	begin := []byte(`{"type":"http_response","id":"000000000000","headers":`)
	bodies := [][]byte{bytes.Repeat([]byte("["), size), bytes.Repeat([]byte(`{"a":`), size/5)}
	tunnels := p.ofTunnels(8, "", true, each, nil)
	for i, t := range tunnels {
		go func() {
			p.count("begun", 1)
			for p.check(t.Send(websocket.TextMessage, begin, bodies[i%len(bodies)])) && p.pause(2*time.Second) {
				p.count("messages", 1)
			}
		}()
	}
	return nil
}

// tunnelChurn: tunnels that end without a goodbye.
func tunnelChurn(p *playing) error {
	p.paced(1<<30, 50, func(i int) {
		t := &wire.Tunnel{}
		if p.check(t.Register(p.ctx, each(i%20), p.Server, "", false)) {
			p.count("tunnels", 1)
			_ = t.WS.NetConn().(*net.TCPConn).SetLinger(0)
			t.WS.Close()
		}
	})
	return nil
}

// relayPace is the time between two writes of 64 KiB of a relay: what waits is
// the point, and not how fast it comes.
const relayPace = 50 * time.Millisecond

// relayUnread: one side of a relay sends all it can, the other reads nothing.
func relayUnread(up bool) func(p *playing) error {
	return func(p *playing) error {
		chunk := make([]byte, 64<<10)
		target, err := net.Listen("tcp", net.JoinHostPort(wire.Source(wire.BlockUser, 200), "0"))
		if err != nil {
			return err
		}
		go wire.ServeAll(target, func(c net.Conn) {
			if up {
				<-p.ctx.Done()
				return
			}
			for p.pause(relayPace) {
				if _, err := c.Write(chunk); err != nil {
					return
				}
				p.count("KiB", len(chunk)>>10)
			}
		})
		p.paced(100, 100, func(i int) {
			ws, err := wire.DialWS(p.ctx, each(i/10), p.Server, wire.RelayPath(target.Addr()), 0)
			if !p.check(err) {
				return
			}
			p.count("relays", 1)
			p.keep(ws.NetConn())
			go func() {
				for up && p.pause(relayPace) && ws.WriteMessage(websocket.BinaryMessage, chunk) == nil {
					p.count("KiB", len(chunk)>>10)
				}
			}()
		})
		return nil
	}
}

// frame is a client's frame, masked with zeros.
func frame(first byte, payload int) []byte {
	return append([]byte{first, 0x80 | byte(payload), 0, 0, 0, 0}, make([]byte, payload)...)
}

// frames: as many frames as may be, for as few bytes.
func frames(p *playing) error {
	target, err := net.Listen("tcp", net.JoinHostPort(wire.Source(wire.BlockUser, 200), "0"))
	if err != nil {
		return err
	}
	go wire.ServeAll(target, func(net.Conn) { <-p.ctx.Done() })
	const (
		binaryStart, continuation = 0x02, 0x00
		binaryWhole, ping, pong   = 0x82, 0x89, 0x8a
	)
	batches := [][]byte{
		bytes.Repeat(frame(ping, 125), 200),
		bytes.Repeat(frame(binaryWhole, 1), 200),
		bytes.Repeat(frame(binaryWhole, 0), 200),
		append(frame(binaryStart, 1), bytes.Repeat(frame(continuation, 0), 200)...),
		bytes.Repeat(frame(pong, 1), 200),
	}
	p.paced(20, 100, func(i int) {
		path := wire.RelayPath(target.Addr())
		if i%4 == 3 {
			path = "/tunnel"
		}
		ws, err := wire.DialWS(p.ctx, each(i/10), p.Server, path, wire.SmallBuffer)
		if !p.check(err) {
			return
		}
		p.count("sessions", 1)
		batch := batches[i%len(batches)]
		rest := batch
		if i%len(batches) == 3 { // the message has begun, and does not end
			rest = batch[len(frame(binaryStart, 1)):]
		}
		go func() {
			for p.pause(50 * time.Millisecond) {
				if _, err := ws.NetConn().Write(batch); err != nil {
					return
				}
				p.count("frames", 200)
				batch = rest
			}
		}()
	})
	return nil
}

// creditFlood: control messages that say nothing, or too much.
func creditFlood(p *playing) error {
	tunnels := p.ofTunnels(4, "flow=credit", true, one, func(i int, t *wire.Tunnel) {
		known := make(chan string, 1)
		t.Open = func(_ *wire.Tunnel, id string) { known <- id }
		go func() {
			var id string
			select {
			case id = <-known:
			case <-p.ctx.Done():
				return
			}
			for p.pause(50 * time.Millisecond) {
				unknown := make([]byte, 6)
				_, _ = rand.Read(unknown)
				for _, text := range []string{
					`{"type":"tcp_credit","connId":"` + id + `","bytes":1}`,
					`{"type":"tcp_credit","connId":"` + id + `","bytes":9007199254740991}`,
					`{"type":"tcp_credit","connId":"` + id + `","bytes":-1}`,
					`{"type":"tcp_credit","connId":"` + hex.EncodeToString(unknown) + `","bytes":1}`,
					`{"type":"tcp_close","connId":"` + hex.EncodeToString(unknown) + `"}`,
				} {
					for range 50 {
						if t.Send(websocket.TextMessage, []byte(text)) != nil {
							return
						}
					}
					p.count("messages", 50)
				}
				for i := range uint32(50) { // data for connections that are none
					binary.BigEndian.PutUint32(unknown, i)
					_ = t.SendData(hex.EncodeToString(unknown), unknown)
				}
			}
		}()
	})
	p.senders(tunnels, 4)
	return nil
}
