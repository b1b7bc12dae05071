package forward

import (
	"math"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/transport/service"
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
	// Services are the connections for what goes as bytes.
	Services() *service.Pool
}

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
func (messagesOnly) Services() *service.Pool                         { return nil }

// Bytes is the dialect of a client that gets HTTP as bytes (http=bytes): beside how
// it is spoken to, the connections over which it gets requests.
type Bytes struct {
	tunnel.Dialect
	services *service.Pool
	host     string // what Host says in the place of the outside client's; "" for that
}

// NewBytes returns the dialect of the client of mux, which is spoken to like clients
// of dialect otherwise. host is what services are told in the Host field, or "".
func NewBytes(mux *tunnel.Mux, dialect tunnel.Dialect, host string) *Bytes {
	return &Bytes{Dialect: dialect, host: host, services: service.NewPool(service.Settings{
		Open: func(peer string) (service.Conn, error) { return service.OpenPlain(mux, peer, messages.ProtocolHTTP) },
	})}
}

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
