package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
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

// Receive reads the echo that Send has asked for. first, if not nil, is called when the
// first bytes have come.
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
	return nil
}

// Verify compares the echo with what was sent.
func (p *Pinger) Verify() error {
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
	if err := p.Receive(func() { first = time.Since(start) }); err != nil {
		return 0, 0, err
	}
	return first, time.Since(start), p.Verify()
}

// Paced pings at each interval until a time, from a moment within the first interval on.
// A ping whose turn comes while the last one is still under way waits for that, and its
// time counts from its turn on: a server that stalls is not asked less. took is told
// each time, and whether it was such a one.
func (r *Run) Paced(p *Pinger, end time.Time, interval time.Duration, took func(d time.Duration, late bool)) error {
	for due := time.Now().Add(rand.N(interval)); due.Before(end); due = due.Add(interval) {
		began, late := due, true
		if wait := time.Until(due); wait > 0 {
			if err := r.Sleep(wait); err != nil {
				return err
			}
			// How late the load's own timer was is not the server's.
			began, late = time.Now(), false
		}
		if _, _, err := p.Ping(); err != nil {
			return err
		}
		took(time.Since(began), late)
	}
	return nil
}
