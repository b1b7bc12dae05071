package forward

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/fields"
	"wsproxy/transport/head"
)

// A Carrier passes HTTP requests through a tunnel as bytes: it opens streams
// whose outer end is in this process, and speaks HTTP/1.1 over them with the
// service behind the client.
type Carrier struct {
	settings  CarrierSettings // set once
	transport *http.Transport
	shares    shares
}

// CarrierSettings are those of a [Carrier]. All fields are required.
type CarrierSettings struct {
	// Dial opens a connection, which is a [Conn] too, for a request from peer.
	Dial     func(ctx context.Context, peer string) (net.Conn, error)
	MaxConns int                       // of the tunnel
	MaxIdle  time.Duration             // how long one may wait for its next request
	Timeout  time.Duration             // for each piece of a request, and from its end to its answer's head
	Reserve  func() budget.Reservation // an empty one of the tunnel's memory
}

// answerRoom is what a request holds of the tunnel's memory, in bytes, until its
// answer's head has come: so large that may be.
const answerRoom = messages.MaxAnswerHeader

// unlogged takes what libraries log and can't be told not to.
var unlogged = log.New(io.Discard, "", 0)

// NewCarrier returns a carrier. It starts nothing.
func NewCarrier(s CarrierSettings) *Carrier {
	return &Carrier{
		settings: s,
		shares:   newShares((s.MaxConns + 1) / 2),
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := s.Dial(ctx, ctx.Value(peerKey{}).(string))
				if err != nil {
					return nil, err
				}
				return &carried{Conn: conn, timeout: s.Timeout}, nil
			},
			DisableCompression:     true, // it is between the two ends
			MaxConnsPerHost:        s.MaxConns,
			MaxIdleConnsPerHost:    s.MaxConns,
			IdleConnTimeout:        s.MaxIdle,
			ResponseHeaderTimeout:  s.Timeout,
			MaxResponseHeaderBytes: 2 * messages.MaxAnswerHeader, // what is above is refused with a reason
		},
	}
}

type peerKey struct{}

// isSafe reports whether a request may be made twice: net/http sends such ones
// again by itself when a connection that was kept turns out to have ended.
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// A repeater sends a request again of which nothing was written, because the
// connection had been kept and had ended. net/http does so by itself, but not
// when the body is longer than its buffer: it takes the failed write for a failure
// to read that. Each attempt uses up one of the connections that were kept.
type repeater struct {
	*http.Transport
	passage *passage
}

func (t repeater) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		before := len(t.passage.uses)
		answer, err := t.Transport.RoundTrip(r)
		if err == nil || len(t.passage.uses) == before || !t.passage.kept || t.passage.conn.wrote.Load() || r.Context().Err() != nil {
			return answer, err
		}
		if r.GetBody != nil {
			r = r.WithContext(r.Context()) // a copy: this one is the caller's
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// A carried is a connection as net/http has it. It bounds how long a request
// may take to be written, and counts the head of each answer while it comes:
// net/http makes a map of it first, and counts no interim answers.
type carried struct {
	net.Conn
	timeout time.Duration
	late    atomic.Pointer[func()] // what ends the request that is being written; nil if nothing does

	wrote   atomic.Bool        // something of the latest request was written
	begun   atomic.Bool        // a request has begun of whose answer nothing has come
	counter head.Counter       // the reader's
	unfit   *fields.UnfitError // the reader's: why no more is read
}

// begin notes that a request uses the connection.
func (c *carried) begin(idle time.Duration, once bool, cancel context.CancelCauseFunc) Use {
	late := func() { cancel(errLate) }
	c.late.Store(&late)
	c.wrote.Store(false)
	c.begun.Store(true)
	return c.Conn.(Conn).Begin(idle, once, func() { cancel(errInterrupted) })
}

// headCame notes that the answer's head has come: what is still written, as over
// an upgraded connection, may take as long as it likes.
func (c *carried) headCame() { c.late.Store(nil) }

func (c *carried) Read(p []byte) (int, error) {
	if c.unfit != nil { // again and again: who reads may overlook it once
		return 0, c.unfit
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.begun.Swap(false) {
		c.counter.Expect()
	}
	if why := c.counter.Count(p[:n]); why != nil {
		// These bytes are passed on: without any net/http would take the
		// connection for one that had ended before the request.
		c.unfit = fields.Unfit(messages.ReasonAnswerHeaders, why.Error())
		return n, nil
	}
	return n, err
}

// Write writes a request in pieces, each of which has its time.
func (c *carried) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(len(p), n+bodyPiece)]
		m, err := c.piece(piece)
		if m > 0 {
			c.wrote.Store(true)
		}
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *carried) piece(p []byte) (int, error) {
	if c.late.Load() == nil {
		return c.Conn.Write(p)
	}
	late := time.AfterFunc(c.timeout, func() {
		if end := c.late.Load(); end != nil {
			(*end)()
		}
	})
	defer late.Stop()
	return c.Conn.Write(p)
}
