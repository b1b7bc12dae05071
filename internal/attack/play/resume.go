package play

import (
	"bytes"
	"io"
	"net"
	"time"

	"wsproxy/internal/attack/wire"
)

// What clients do to sessions that outlive their WebSocket.

// endless is more than anyone takes in an attack.
const endless = 1 << 30

// resumeTarget is a service that sends so many pieces of 64 KiB, at a pace, and does
// nothing with what comes.
func (p *playing) resumeTarget(pieces int) (net.Addr, error) {
	target, err := net.Listen("tcp", net.JoinHostPort(wire.Source(wire.BlockUser, 200), "0"))
	if err != nil {
		return nil, err
	}
	chunk := make([]byte, 64<<10)
	go wire.ServeAll(target, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetReadBuffer(wire.SmallBuffer)
		for n := 0; n < pieces && p.pause(relayPace); n++ {
			if _, err := c.Write(chunk); err != nil {
				return
			}
			p.count("KiB", len(chunk)>>10)
		}
		<-p.ctx.Done()
	})
	return target.Addr(), nil
}

// begin begins a session from an address.
func (p *playing) begin(from string, target net.Addr, receiveBuffer int) *wire.Session {
	s := &wire.Session{From: from, Server: p.Server, ReceiveBuffer: receiveBuffer}
	if !p.check(s.Begin(p.ctx, wire.RelayPath(target))) {
		p.count("refused", 1)
		return nil
	}
	p.count("sessions", 1)
	return s
}

// resumeTakeUps: sessions that are taken up without a pause. What they had before stays
// open as long as the server lets it.
func resumeTakeUps(p *playing) error {
	target, err := p.resumeTarget(endless)
	if err != nil {
		return err
	}
	for i := range 20 {
		s := p.begin(each(i/4), target, wire.SmallBuffer)
		if s == nil {
			continue
		}
		go func() {
			var before []net.Conn
			for {
				_ = s.Ack(0, wire.MostPosition)
				if before = append(before, s.WS.NetConn()); len(before) > 200 { // this process has a bound, too
					before[0].Close()
					before = before[1:]
				}
				if !p.check(s.TakeUp(p.ctx, 0)) {
					return
				}
				p.count("take-ups", 1)
			}
		}()
	}
	return nil
}

// resumeDetached: sessions that were lost, each with a target that has sent twice what
// is kept whatever others do. There are more of them than slots in the end: the oldest
// give way.
func resumeDetached(p *playing) error {
	target, err := p.resumeTarget(2)
	if err != nil {
		return err
	}
	const addresses, slots = 500, 10 // of the default of MAX_CONNS_PER_IP
	p.paced(1<<30, 700, func(i int) {
		s := p.begin(each(i%addresses), target, 0)
		if s == nil {
			return
		}
		if i >= addresses*slots {
			p.count("given way", 1)
		}
		_ = s.Ack(0, wire.MostPosition)
		_ = s.WS.NetConn().(*net.TCPConn).SetLinger(0)
		s.WS.Close()
	})
	return nil
}

// resumeUnread: sessions that grant as much as there can be. They read, and never
// acknowledge, or don't read at all.
func resumeUnread(reads bool) func(p *playing) error {
	return func(p *playing) error {
		target, err := p.resumeTarget(endless)
		if err != nil {
			return err
		}
		receiveBuffer := wire.SmallBuffer
		if reads {
			receiveBuffer = 0
		}
		p.paced(100, 100, func(i int) {
			s := p.begin(each(i/10), target, receiveBuffer)
			if s == nil || !p.check(s.Ack(0, wire.MostPosition)) {
				return
			}
			p.keep(s.WS.NetConn())
			go func() {
				for reads {
					if _, _, err := s.WS.ReadMessage(); err != nil {
						return
					}
				}
			}()
		})
		return nil
	}
}

// resumeTiny: messages that take up more than they carry. The target reads nothing, so
// that they wait.
func resumeTiny(p *playing) error {
	target, err := p.resumeTarget(0)
	if err != nil {
		return err
	}
	const (
		binaryWhole, binaryStart, last = 0x82, 0x02, 0x80
		room                           = 30_000 // bytes of the limit, beside the message that waits
		batches                        = 500
	)
	p.paced(40, 100, func(i int) {
		s := p.begin(each(i/10), target, 0)
		if s == nil || !p.check(s.Ack(0, 64<<10)) {
			return
		}
		go func() {
			position, err := s.Stuff()
			if !p.check(err) {
				return
			}
			p.count("stuffed", 1)
			c := s.WS.NetConn()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			empty := bytes.Repeat(framed(binaryWhole, wire.WithPosition(nil, position)), batches)
			for n := 0; p.pause(20 * time.Millisecond); n += batches {
				batch := empty
				if i%2 == 0 {
					if n >= room {
						return
					}
					batch = nil
					for range batches {
						position++
						batch = append(batch, framed(binaryStart, wire.WithPosition([]byte{0}, position))...)
						batch = append(batch, framed(last, nil)...)
					}
				}
				if _, err := c.Write(batch); err != nil {
					return
				}
				p.count("messages", batches)
			}
		}()
	})
	return nil
}

// framed is a client's frame, masked with zeros.
func framed(first byte, payload []byte) []byte {
	return append(frame(first, len(payload))[:6], payload...)
}

// resumeGuesses: tokens of sessions that there are not.
func resumeGuesses(p *playing) error {
	p.paced(1<<30, 1500, func(i int) {
		ws, err := wire.Guess(p.ctx, wire.Source(wire.BlockOutside, i%50), p.Server, i)
		if !p.check(err) {
			p.count("refused", 1)
			return
		}
		defer ws.Close()
		_ = ws.SetReadDeadline(time.Now().Add(wire.RequestLimit))
		if _, _, err := ws.ReadMessage(); err != nil {
			p.count("guesses", 1)
			return
		}
		p.count("RIGHT", 1)
	})
	return nil
}

// resumeHalf: requests to take up that never end, and answers to which nobody says a
// word.
func resumeHalf(p *playing) error {
	p.hold(2000, 1500, func(i int) (net.Conn, error) {
		request := "GET /relay?bytes=0&attempt=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: wsproxy.resume, resume." + wire.GuessedToken(i) + "\r\n"
		if i%2 == 0 {
			request += "\r\n"
		}
		return p.write(wire.Source(wire.BlockOutside, i%50), p.Server, 0, []byte(request))
	})
	return nil
}
