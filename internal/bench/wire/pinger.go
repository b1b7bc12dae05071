package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// A Pinger exchanges messages of a size with an echo. Each begins with the echo's hello
// and a number that makes it unlike the last. It belongs to one goroutine.
type Pinger struct {
	out, in []byte
	number  uint64
	send    func([]byte) error
	receive func([]byte) (int, error)
}

// SmallestPing is the smallest size of a ping in bytes, Period the largest.
const SmallestPing = helloSize + 8

func newPinger(size int, send func([]byte) error, receive func([]byte) (int, error)) *Pinger {
	out := appendHello(nil, echoID)
	out = append(out, NewStream(echoID, lanePing).Next(size-len(out))...)
	return &Pinger{out: out, in: make([]byte, size), send: send, receive: receive}
}

// ClientPinger pings through a relay that nothing was sent through yet.
func ClientPinger(c Client, size int) *Pinger { return newPinger(size, c.Send, c.Receive) }

// ConnPinger pings over a connection.
func ConnPinger(conn net.Conn, size int) *Pinger {
	send := func(p []byte) error {
		_, err := conn.Write(p)
		return err
	}
	return newPinger(size, send, conn.Read)
}

// Send begins an exchange.
func (p *Pinger) Send() error {
	p.number++
	binary.BigEndian.PutUint64(p.out[helloSize:], p.number)
	if err := p.send(p.out); err != nil {
		return fmt.Errorf("a ping cannot be sent: %w", err)
	}
	return nil
}

// Receive ends the exchange that Send began. first, if not nil, is called when the first
// bytes have come.
func (p *Pinger) Receive(first func()) error {
	for got := 0; got < len(p.in); {
		n, err := p.receive(p.in[got:])
		if got == 0 && first != nil {
			first()
		}
		got += n
		if err != nil && got < len(p.in) {
			return fmt.Errorf("a ping was not echoed: %w", err)
		}
	}
	if !bytes.Equal(p.in, p.out) {
		return errors.New("the echo of a ping has other contents than the ping")
	}
	return nil
}

// Ping makes one exchange, and returns how long the first bytes and the whole echo took.
func (p *Pinger) Ping() (first, whole time.Duration, err error) {
	start := time.Now()
	if err := p.Send(); err != nil {
		return 0, 0, err
	}
	err = p.Receive(func() { first = time.Since(start) })
	return first, time.Since(start), err
}
