package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// handshakeTimeout is how long a WebSocket may take until it is open, the name's
// lookup, a proxy and TLS included. The token is asked for before.
const handshakeTimeout = 10 * time.Second

// readBuffer is what an idle WebSocket holds for reading. A message's payload
// mostly goes past it.
const readBuffer = 4 << 10

// errSubprotocol is of a take-up that something else than a session answers.
var errSubprotocol = errors.New("the server does not take sessions up: it has not selected wsproxy.resume")

// Dial opens a WebSocket to an endpoint of the server, "/relay" or "/tunnel".
// With again it takes a session up, and query is of no use. The error is a
// [*RefusedError] if the server answered, with a status that says why.
func Dial(ctx context.Context, o *Options, path string, query url.Values, again *TakeUp) (*Conn, error) {
	if again != nil {
		query = again.query()
	}
	u, err := o.endpoint(path, query)
	if err != nil {
		return nil, err
	}
	header, err := o.header(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	w := &way{url: u, tls: o.TLS, proxy: o.Proxy, open: o.Connect}
	var wired *wire
	stop := func() bool { return true }
	dialer := websocket.Dialer{
		Subprotocols:    o.protocols(again),
		ReadBufferSize:  readBuffer,
		WriteBufferPool: new(sync.Pool), // so that there is no buffer: see wire.message
		NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := w.dial(ctx)
			if err != nil {
				return nil, err
			}
			wired = newWire(conn, o.UnsentLow)
			stop = context.AfterFunc(ctx, wired.abandon)
			return wired, nil
		},
	}
	open := *u
	open.Scheme = "ws" // TLS, if there is any, is of the way already
	ws, response, err := dialer.DialContext(ctx, open.String(), header)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	switch {
	case err == nil:
	case errors.Is(err, websocket.ErrBadHandshake) && response.StatusCode != http.StatusSwitchingProtocols:
		body, _ := io.ReadAll(response.Body)
		return nil, refusal(response, body)
	case context.Cause(ctx) == context.DeadlineExceeded:
		return nil, fmt.Errorf("%s has not answered within %v: %w", u.Host, handshakeTimeout, err)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, fmt.Errorf("%s answers the handshake as no WebSocket server does", u.Host)
	default:
		return nil, fmt.Errorf("%s can't be reached: %w", u.Host, err)
	}
	if again != nil && ws.Subprotocol() != protocolResume {
		wired.abandon() // what answers is no session, and is left as it is
		return nil, errSubprotocol
	}
	return newConn(ws, wired), nil
}

// header returns what the handshake has beside what every one has.
func (o *Options) header(ctx context.Context) (http.Header, error) {
	header := o.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if o.Token == nil {
		return header, nil
	}
	token, err := o.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("there is no token: %w", err)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token has characters that no token has")
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return header, nil
}
