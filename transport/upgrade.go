package transport

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/auth"
	"wsproxy/messages"
)

// authenticate returns whose request it is, "" for anyone, or the answer for
// who may not come in.
func (s *Server) authenticate(r *http.Request, query url.Values) (user string, no *refusal) {
	if s.config.Auth == nil {
		return "", nil
	}
	identity, err := s.config.Auth.Verify(r.Context(), auth.TokenFrom(query, r.Header))
	if err != nil {
		return "", &refusal{http.StatusUnauthorized, messages.ReasonUnauthorized, err.Error()}
	}
	return identity.Subject, nil
}

// upgrader makes the handshake. The connection's own buffers are dropped after
// it, so they are as small as they may be.
var upgrader = websocket.Upgrader{
	ReadBufferSize:   1,
	HandshakeTimeout: 10 * time.Second,                         // for writing the answer; a client reads it at once or never
	CheckOrigin:      func(*http.Request) bool { return true }, // checked before, in its place in the order
}

// upgrade turns the request into a WebSocket, or answers it and returns nil.
// The HTTP handler must return soon: its goroutine and its buffers live as
// long as it does.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) *socket {
	handshake := upgrader // a copy, for its Error
	handshake.Error = func(w http.ResponseWriter, r *http.Request, status int, _ error) {
		if status == http.StatusInternalServerError {
			s.refuse(w, r, refusalFor(messages.ReasonInternal))
			return
		}
		s.refuse(w, r, refusalFor(messages.ReasonNotWebSocket))
	}
	// Not by the library's Subprotocols, which looks at the first header line
	// only, while the token may stand in one and the name in another.
	var answer http.Header
	if auth.OffersSubprotocol(r.Header) {
		answer = http.Header{"Sec-Websocket-Protocol": {auth.Subprotocol}}
	}
	ws, err := handshake.Upgrade(w, r, answer)
	if err != nil {
		return nil // the client was answered, or is gone
	}
	// Upgrade has made sure that the client sent nothing ahead, so the bare
	// connection is all there is.
	conn, ok := ws.NetConn().(*net.TCPConn)
	if !ok {
		s.config.Log.Error("the HTTP listener's connections are not TCP")
		ws.Close()
		return nil
	}
	client, err := newSocket(conn)
	if err != nil {
		ws.Close()
		return nil
	}
	return client
}

// whyUnattached is why a session was gone when its WebSocket was there: the
// server shuts down, or its actor failed.
func (s *Server) whyUnattached() messages.Reason {
	if s.draining.Load() {
		return messages.ReasonShutdown
	}
	return messages.ReasonInternal
}

// refuse closes a WebSocket that nobody wants, so that the close arrives.
func (s *socket) refuse(reason messages.Reason) {
	defer s.conn.Close()
	_ = s.conn.SetDeadline(time.Now().Add(messages.Linger))
	if s.writeClose(messages.CloseFor(reason)) == nil {
		_, _ = io.Copy(io.Discard, s.conn)
	}
}
