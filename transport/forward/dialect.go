package forward

import (
	"math"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/transport/tunnel"
)

// A Dialect is what a [tunnel.Dialect] may implement beside that: it says which
// requests its client can't be sent as messages, and carries these as bytes.
// Any goroutine may call its methods.
type Dialect interface {
	// AsBytes reports whether a request must go as bytes. Its body has come
	// whole.
	AsBytes(r *http.Request, body []byte) bool
	// MaxRequest is the longest http_request, in bytes, that the client can be
	// sent. A longer one goes as bytes.
	MaxRequest() int
	// Doubts reports whether the client may have damaged the body of an answer:
	// one of which no length says that it is whole, or which should be chunked
	// and is not well-formed.
	Doubts(body []byte, chunked bool) bool
	// AskAgain reports whether a request goes as bytes once more, after an
	// answer that was damaged, or nil for one that was too long to be read.
	AskAgain(r *http.Request, damaged *messages.Response) bool
	// Carrier carries what goes as bytes. Its connections are Conns.
	Carrier() *Carrier
}

// A Conn is a connection of a Carrier. It serves one request at a time, each a
// Use.
type Conn interface {
	// Begin notes that a request uses the connection, which was idle for so
	// long before; 0 if it is new. once says that the request must not reach the
	// service twice: it is sent again only if nothing of it was written, so a
	// connection that may have ended is tried first, and Write then returns 0
	// and an error. interrupted is called before a read fails
	// because the tunnel, and not the service, has ended the connection: nobody
	// knows whether the service has seen the request.
	Begin(idle time.Duration, once bool, interrupted func()) Use
}

// A Use is one request's use of a Conn.
type Use interface {
	// Answered has the head of the answer, and may replace its body, as which
	// an upgraded connection is an [io.ReadWriteCloser].
	Answered(answer *http.Response)
	// End ends the use. Called exactly once.
	End(outcome Outcome)
}

// An Outcome is how a Use ended.
type Outcome uint8

// The outcomes of a Use.
const (
	OutcomeBroken Outcome = iota // the service has a part of a request, or the connection was upgraded
	OutcomeKept                  // it was answered, and the service waits for the next request
	OutcomeLast                  // it was answered, and the service closes the connection
	OutcomeLeft                  // the service has the whole request, and nobody wants the answer, or its rest
)

// dialectOf returns what a tunnel's client needs for HTTP.
func dialectOf(mux *tunnel.Mux) Dialect {
	if d, ok := mux.Dialect().(Dialect); ok {
		return d
	}
	return messagesOnly{}
}

// messagesOnly is the Dialect of clients that take everything as messages.
type messagesOnly struct{}

func (messagesOnly) AsBytes(*http.Request, []byte) bool              { return false }
func (messagesOnly) MaxRequest() int                                 { return math.MaxInt }
func (messagesOnly) Doubts([]byte, bool) bool                        { return false }
func (messagesOnly) AskAgain(*http.Request, *messages.Response) bool { return false }
func (messagesOnly) Carrier() *Carrier                               { return nil }

// IsUpgrade reports whether a request asks to become something else (RFC 9110,
// section 7.8).
func IsUpgrade(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") && r.Header.Get("Upgrade") != ""
}

// WantsEvents reports whether a request asks for a stream of events, whose
// answer has no end.
func WantsEvents(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Accept"], "text/event-stream")
}
