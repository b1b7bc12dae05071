package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/renewal"
	"wsproxy/transport/outside"
	"wsproxy/transport/renewer"
	"wsproxy/transport/wsock"
)

// authenticate notes whose request it is, or returns the answer for who may not come in.
func (s *Server) authenticate(r *http.Request, query url.Values, who *applicant) *refusal {
	if s.config.Auth == nil {
		return nil
	}
	identity, err := s.config.Auth.Verify(r.Context(), auth.TokenFrom(query, r.Header))
	if err != nil {
		return &refusal{http.StatusUnauthorized, tokenReason(err), err.Error()}
	}
	who.user, who.expires = identity.Subject, identity.Expires
	return nil
}

// endOf returns when a session that begins ends with its token, the zero Time if it
// doesn't.
func (s *Server) endOf(who *applicant) time.Time {
	if !s.endWithToken.Load() {
		return time.Time{}
	}
	return s.tokenEnd(who)
}

// tokenEnd returns until when a token is good, the zero Time without authentication.
func (s *Server) tokenEnd(who *applicant) time.Time {
	if s.config.Auth == nil {
		return time.Time{}
	}
	return who.expires.Add(auth.Leeway)
}

// renewer returns what judges the fresh tokens of a session, nil if it doesn't end with
// its token.
func (s *Server) renewer(who *applicant) *renewer.Renewer {
	if s.endOf(who).IsZero() {
		return nil
	}
	user := who.user // alone: of who there are more, such as the query with the token
	judge := func(token string) (until, expires time.Time, why string) {
		// The verifier has bounds of its own for what it waits for.
		now, err := s.config.Auth.Verify(context.Background(), token)
		switch refusal, ok := errors.AsType[*auth.Error](err); {
		case ok:
			return until, expires, string(refusal.Reason)
		case err != nil:
			return until, expires, renewal.WhyInternal
		case now.Subject != user:
			return until, expires, renewal.WhyOtherUser
		}
		return now.Expires.Add(auth.Leeway), now.Expires, ""
	}
	return renewer.New(judge, s.config.Log)
}

// upgrader makes the handshake. The connection's own buffers are dropped after
// it, so they are as small as they may be.
var upgrader = websocket.Upgrader{
	ReadBufferSize:   1,
	HandshakeTimeout: 10 * time.Second,                         // for writing the answer; a client reads it at once or never
	CheckOrigin:      func(*http.Request) bool { return true }, // checked before, in its place in the order
}

// isHandshake reports whether a request asks for a WebSocket: not one of
// HTTP/1.0, which knows no upgrades (RFC 6455, section 4.1), nor one with a body,
// whose bytes would be taken for frames.
func isHandshake(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && r.ContentLength == 0 && websocket.IsWebSocketUpgrade(r)
}

// upgrade turns the request into a WebSocket of a subprotocol, "" for none, or
// answers it and returns nil.
// Before it answers it calls abandon, which gives the session's slot back: the
// client may go on sending for some seconds. The HTTP handler must return soon:
// its goroutine and its buffers live as long as it does.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, who *applicant, protocol string, abandon func()) *wsock.Conn {
	bare := &bareWriter{ResponseWriter: w}
	handshake := upgrader // a copy, for its Error
	handshake.Error = func(_ http.ResponseWriter, r *http.Request, status int, _ error) {
		abandon()
		switch {
		case bare.early != nil:
			if observed, ok := w.(*outside.Observed); ok {
				observed.Became(http.StatusBadRequest)
			}
			s.refuseEarly(r, who, bare.early)
		case status == http.StatusInternalServerError:
			s.refuse(w, r, who, refusalFor(messages.ReasonInternal))
		default:
			s.refuse(w, r, who, refusalFor(messages.ReasonNotWebSocket))
		}
	}
	var answer http.Header
	if protocol != "" {
		answer = http.Header{"Sec-Websocket-Protocol": {protocol}}
	}
	ws, err := handshake.Upgrade(bare, r, answer)
	if err != nil {
		return nil // the client was answered, or is gone
	}
	// Hijack has made sure that the client sent nothing ahead, so the bare
	// connection is all there is.
	conn, ok := ws.NetConn().(*net.TCPConn)
	if !ok {
		s.config.Log.Error("the HTTP listener's connections are not TCP")
		ws.Close()
		return nil
	}
	client, err := wsock.NewConn(conn)
	if err != nil {
		ws.Close()
		return nil
	}
	return client
}

// A bareWriter lets an upgrade have the TCP connection itself, without what the
// edge has around it, if the client has sent nothing ahead.
type bareWriter struct {
	http.ResponseWriter
	early net.Conn // the connection on which bytes have come with the handshake
}

var errEarly = errors.New("bytes have come with the handshake")

func (w *bareWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		w.early = conn
		return nil, nil, errEarly
	}
	if c, ok := conn.(*edgeConn); ok {
		conn = c.TCPConn
	}
	return conn, rw, nil
}

// refuseEarly answers a handshake with which bytes have come: a client must not
// send any before it has the answer. The connection is not net/http's any more.
func (s *Server) refuseEarly(r *http.Request, who *applicant, conn net.Conn) {
	defer conn.Close()
	no := refusalFor(messages.ReasonEarlyBytes)
	s.record(r, who, no.reason)
	if c, ok := conn.(*edgeConn); ok && !c.enter() { // it left when it was hijacked
		return
	}
	_ = conn.SetDeadline(time.Now().Add(messages.Linger))
	if _, err := conn.Write(no.bare()); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// whyUnattached is why a session was gone when its WebSocket was there: the
// server shuts down, or its actor failed.
func (s *Server) whyUnattached() messages.Reason {
	if s.draining.Load() {
		return messages.ReasonShutdown
	}
	return messages.ReasonInternal
}
