package netpolicy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// attemptDelay is the "Connection Attempt Delay" of RFC 8305 section 5:
	// 250 ms recommended.
	attemptDelay = 250 * time.Millisecond
	// maxAttempts bounds what one request can make the proxy do: a name with
	// thousands of addresses would otherwise turn it into a port scanner.
	maxAttempts = 16
)

var errNoAddress = errors.New("there is no address to connect to")

// connector makes one attempt. It must return soon after ctx ends.
type connector func(ctx context.Context, ap netip.AddrPort) (*net.TCPConn, error)

// attempt calls c, whose panic is a failure of the attempt.
func (c connector) attempt(ctx context.Context, ap netip.AddrPort) (conn *net.TCPConn, err error) {
	defer func() {
		if v := recover(); v != nil {
			conn, err = nil, fmt.Errorf("connecting to %s panicked: %v", ap, v)
		}
	}()
	return c(ctx, ap)
}

// Dial connects to one of addrs, which come from [Policy.Resolve], by Happy
// Eyeballs (RFC 8305): families take turns, beginning with that of the first
// address; the next attempt starts when one fails or has taken 250 ms; the
// first to connect wins. At most 16 addresses are tried.
//
// Every address is judged again, all before the first attempt and each right
// before its connect(2); if one is blocked by now, the dial ends with its
// *[BlockedError]. Any other failure, the end of ctx included, is an
// *[UnreachableError]. The caller sets a deadline by ctx, which has no effect
// on the connection once Dial has returned, and owns the connection. When Dial
// returns all other attempts have ended and are closed.
func (p *Policy) Dial(ctx context.Context, addrs []netip.AddrPort) (*net.TCPConn, error) {
	for _, ap := range addrs {
		if err := p.Judge(ap); err != nil {
			return nil, err
		}
	}
	if len(addrs) == 1 { // no race, and so no other goroutine
		conn, err := p.connect.attempt(ctx, addrs[0])
		if err == nil {
			return conn, nil
		}
		if blocked, ok := errors.AsType[*BlockedError](err); ok {
			return nil, blocked
		}
		return nil, &UnreachableError{Attempts: []error{err}}
	}
	addrs = interleave(addrs)
	if len(addrs) > maxAttempts {
		addrs = addrs[:maxAttempts]
	}
	if len(addrs) == 0 {
		return nil, &UnreachableError{Attempts: []error{errNoAddress}}
	}
	r := &race{connect: p.connect, results: make(chan result)}
	return r.run(ctx, addrs)
}

// race is one Dial. All fields belong to the goroutine in run.
type race struct {
	connect connector
	results chan result // unbuffered: run receives exactly one per attempt
	running int         // attempts that have not yet reported
	failed  []error
}

type result struct {
	conn *net.TCPConn
	err  error
}

func (r *race) run(ctx context.Context, addrs []netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.drain()
	defer cancel() // runs before drain, so that the losers give up

	delay := time.NewTimer(attemptDelay)
	defer delay.Stop()
	next := 0
	start := func() {
		r.start(ctx, addrs[next])
		next++
		delay.Reset(attemptDelay)
	}
	start()
	for {
		late := delay.C
		if next == len(addrs) {
			late = nil
		}
		select {
		case <-late:
			start()
		case res := <-r.results:
			r.running--
			if res.err == nil {
				return res.conn, nil
			}
			if blocked, ok := errors.AsType[*BlockedError](res.err); ok {
				return nil, blocked
			}
			r.failed = append(r.failed, res.err)
			// Once ctx has ended another attempt could only fail too.
			if next < len(addrs) && ctx.Err() == nil {
				start()
			} else if r.running == 0 {
				return nil, &UnreachableError{Attempts: r.failed}
			}
		}
	}
}

// start makes an attempt in a goroutine that ends with its result's delivery.
func (r *race) start(ctx context.Context, ap netip.AddrPort) {
	r.running++
	go func() {
		conn, err := r.connect.attempt(ctx, ap)
		r.results <- result{conn, err}
	}()
}

// drain waits for the attempts that still run and closes what they bring.
func (r *race) drain() {
	for ; r.running > 0; r.running-- {
		if res := <-r.results; res.conn != nil {
			res.conn.Close()
		}
	}
}

// connectTCP connects to ap and to nothing else. It leaves the dialer's
// defaults alone: keep-alives and TCP_NODELAY stay on.
func (p *Policy) connectTCP(ctx context.Context, ap netip.AddrPort) (*net.TCPConn, error) {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	network := "tcp6"
	if ap.Addr().Is4() {
		network = "tcp4"
	}
	// DialContext and not DialTCP, which binds the zero local address and so
	// uses up a local port for each connection, whatever its target.
	d := net.Dialer{Control: func(_, address string, raw syscall.RawConn) error {
		if err := p.control(ap, address); err != nil {
			return err
		}
		return raw.Control(resetOnClose)
	}}
	c, err := d.DialContext(ctx, network, ap.String())
	if err != nil {
		return nil, err
	}
	conn := c.(*net.TCPConn)
	_ = conn.SetLinger(-1) // it fails only for a connection that is gone, which its reader finds
	// A machine that talks to itself uses the address that it talks to as its
	// own. So this finds an own address that the interfaces don't list (a local
	// route) or didn't yet list; not a byte has gone either way.
	if p.ownPort(ap.Port()) && localIP(conn) == ap.Addr() {
		conn.Close()
		return nil, &BlockedError{Addr: ap, Reason: ReasonOwnPort}
	}
	return conn, nil
}

// control has the last word before connect(2), on the address that the kernel
// is about to be given.
func (p *Policy) control(want netip.AddrPort, address string) error {
	got, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address to dial can't be read: %w", err)
	}
	got = netip.AddrPortFrom(got.Addr().Unmap(), got.Port())
	if got != want {
		return fmt.Errorf("the dialer turned %s into %s", want, got)
	}
	return p.Judge(got)
}

func localIP(conn *net.TCPConn) netip.Addr {
	a, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}

// interleave orders addresses so that families take turns (RFC 8305 section 4,
// with a First Address Family Count of 1), each in the order given.
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.AddrPort
	is4 := addrs[0].Addr().Unmap().Is4()
	for _, ap := range addrs {
		if ap.Addr().Unmap().Is4() == is4 {
			first = append(first, ap)
		} else {
			second = append(second, ap)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// causes are the ways in which a connection fails, the most telling first: that
// IPv6 has no route here says little when IPv4 was refused.
var causes = []struct {
	is   error
	text string
}{
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.ECONNRESET, "connection reset"},
	{context.DeadlineExceeded, "timed out"},
	{os.ErrDeadlineExceeded, "timed out"},
	{syscall.ETIMEDOUT, "timed out"},
	{context.Canceled, "cancelled"},
	{syscall.EHOSTUNREACH, "no route to host"},
	{syscall.ENETUNREACH, "network unreachable"},
	{errNoAddress, "no address"},
}

// unreachableCause sums attempts up in a few words without any address.
func unreachableCause(attempts []error) string {
	for _, c := range causes {
		for _, err := range attempts {
			if errors.Is(err, c.is) {
				return c.text
			}
		}
	}
	for _, err := range attempts {
		if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
			return "timed out"
		}
	}
	return "connection failed"
}
