package gossh

import (
	"io"
	"time"

	"wsproxy/transport/service"
	"wsproxy/transport/wsock"
)

// leave makes the client let go of the connection, if it can be made to.
// Meanwhile what the service still sends is read to no purpose: else it would
// count as waiting for somebody.
func (c *conn) leave() {
	u := c.use.Load()
	if u == nil {
		return // the client may not even have been told of it
	}
	<-u.over
	c.Interrupt(nil)
	ws := u.upgraded.Load()
	enough := make(chan struct{})
	c.ended = make(chan struct{})
	wsock.StartPump(c.mux.Host().Log(), "inner drain", func() { c.drain(u, ws, enough) }, func() { close(c.ended) })
	defer func() {
		close(enough)
		<-c.ended
	}()
	switch {
	case ws != nil:
		c.leaveWebSocket(ws)
	case u.outcome == service.OutcomeLast:
		c.nudge()
	case u.outcome == service.OutcomeKept:
		c.part()
	case u.outcome == service.OutcomeLeft:
		c.giveUp(u)
	}
	// Else the service waits for the rest of a request, or speaks a protocol
	// that nobody knows here: whatever is written would be taken for a part of
	// that. The client's slot stays taken.
}

// drain reads what nobody hears any more.
func (c *conn) drain(u *use, ws *webSocket, enough <-chan struct{}) {
	for {
		chunk, err := c.Pipe.Next(enough)
		if err != nil {
			c.told = err == io.EOF
			return
		}
		u.began()
		if ws != nil {
			ws.heard(chunk)
		}
		c.drained.Add(int64(len(chunk)))
		c.Passed(chunk)
	}
}

// ends waits for the end of the service, which the client tells when it has found out,
// and reports whether it came.
func (c *conn) ends(within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-c.ended:
		return true
	case <-late.C:
		return false
	}
}

const (
	// nudges is how many bytes are written to a service that has ended, at
	// most. The first makes its host answer with a reset, and a later one
	// fails: through a real SSH server the third. A page that is busy writes
	// several at once, which count as one; over six seconds they come apart.
	nudges = 7
	// partPause is how long a service's host has to answer the first part of
	// the last request, and how often is looked for the answer to the whole.
	partPause = 150 * time.Millisecond
	// partLooks is for how many looks that is waited for. What is written after
	// it does no harm: it was the last request (RFC 9112, section 9.6).
	partLooks = 14
)

// nudgePause is how long after the answer's end the first is written, by when
// the service has closed the connection. It is doubled each time. A variable for
// tests, which don't wait that long.
var nudgePause = 50 * time.Millisecond

// nudge writes to a service that has ended, until the client finds out. It
// reports whether it has.
func (c *conn) nudge() (ended bool) {
	pause := nudgePause
	for range nudges {
		if c.ends(pause) {
			return true
		}
		if _, err := c.Pipe.Write([]byte{'\n'}); err != nil {
			return true
		}
		pause *= 2
	}
	return c.ends(pause)
}

// part ends a connection that waits for its next request: by a last one, which
// asks for nothing but the end. It goes in two parts, so that a service which
// has ended meanwhile is found out by the second.
func (c *conn) part() {
	before := c.drained.Load()
	for _, piece := range []string{"OPTIONS * HTTP/1.1\r\n", "Host: localhost\r\nConnection: close\r\n\r\n"} {
		if _, err := c.Pipe.Write([]byte(piece)); err != nil {
			return
		}
		if c.ends(partPause) {
			return
		}
	}
	for range partLooks {
		if c.drained.Load() > before {
			break // it has answered, and ended
		}
		if c.ends(partPause) {
			return
		}
	}
	c.nudge()
}

const (
	// unparsable is what no HTTP parser takes for a request, to its end: a
	// service that reads on while it answers then ends the connection, an event
	// stream that nobody hears any more among them. Measured with Node.
	unparsable = "\x00\x01\x02\r\n\r\n"
	// givenUp is for how long an answer is waited for, and a service that
	// finishes it first is nudged; givenUpPause is how often at least.
	givenUp      = 10 * time.Minute
	givenUpPause = 15 * time.Second
)

// giveUp ends a connection on which an answer is awaited, or under way, that
// nobody wants. The request has gone out whole, so what follows it is one of
// its own; and what follows what is unparsable is nothing at all. Before the
// answer begins nothing is written: a service may watch the connection for its
// end only as long as nothing comes (Go's does), and still have to find that.
func (c *conn) giveUp(u *use) {
	late := time.NewTimer(givenUp)
	defer late.Stop()
	select {
	case <-u.answered:
	case <-c.ended:
		return
	case <-late.C:
		return
	}
	if _, err := c.Pipe.Write([]byte(unparsable)); err != nil || c.ends(partPause) {
		return
	}
	begun := time.Now()
	for pause := nudgePause; time.Since(begun) < givenUp; pause = min(2*pause, givenUpPause) {
		if _, err := c.Pipe.Write([]byte{'\n'}); err != nil || c.ends(pause) {
			return
		}
	}
}

// closeAnswer is how long a service has to answer the close frame that it is
// sent in the place of a visitor who left without one.
const closeAnswer = 2 * time.Second

// halfOpen is after how long a WebSocket's service is nudged again: ws of npm
// keeps its socket half-open for 30 s, and the first nudges hit that. A variable
// for tests.
var halfOpen = 31 * time.Second

// leaveWebSocket ends a connection that has become a WebSocket. A service that
// was not told of the end is told, where the stream of frames allows it.
func (c *conn) leaveWebSocket(ws *webSocket) {
	if !ws.closedByVisitor() {
		if !ws.atBoundary() {
			return // in the middle of a frame, whatever is written would be its payload
		}
		if _, err := c.Pipe.Write(goingAway); err != nil {
			return
		}
		late := time.NewTimer(closeAnswer)
		defer late.Stop()
		select {
		case <-c.ended:
			return
		case <-ws.serviceClosed:
		case <-late.C:
		}
	}
	ended := time.Now()
	if c.nudge() || c.ends(halfOpen-time.Since(ended)) {
		return
	}
	c.nudge()
}
