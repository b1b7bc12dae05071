package transport

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// A takeUp is a request to go on with a session on another WebSocket (protocol,
// section 9). Who asks and from where was judged.
type takeUp struct {
	unit  string // the name of the position
	find  func(id string) *actor.PID
	token string
	query url.Values
}

// takeUp goes on with a session, or says why not in the close frame, which a browser
// can read. Until it is accepted the WebSocket is a connection that is no session.
func (s *Server) takeUp(w http.ResponseWriter, r *http.Request, who *applicant, t takeUp) {
	if !isHandshake(r) {
		s.refuse(w, r, who, refusalFor(messages.ReasonNotWebSocket))
		return
	}
	client := s.upgrade(w, r, who, auth.SelectResume(r.Header), func() {})
	if client == nil {
		return
	}
	conn, counts := r.Context().Value(edgeConnKey{}).(*edgeConn)
	if counts {
		if !conn.enter() { // it left when it was hijacked
			_ = conn.TCPConn.Close()
			return
		}
		s.conns.work(conn)
		defer s.conns.leave(conn)
	}
	s.limit(client, who)
	if reason := s.askToTakeUp(who, t, client); reason != "" {
		s.record(r, who, reason)
		if counts {
			s.conns.rest(conn) // who doesn't read its refusal gives way
		}
		s.host.Refuse(client, reason)
	}
}

// existsLook is how often is looked whether a session that has been asked still is
// there. It answers within microseconds, or it has just ended.
const existsLook = 20 * time.Millisecond

// askToTakeUp asks the session's actor, and returns its answer: "" if the WebSocket is
// the session's now.
func (s *Server) askToTakeUp(who *applicant, t takeUp, client *wsock.Conn) messages.Reason {
	id, secret, ok := strings.Cut(t.token, ".")
	if !ok || len(t.token) > messages.MaxResumeToken || !isTokenID(id) || s.config.Resume.Timeout == 0 {
		return messages.ReasonNoSession
	}
	session := t.find(strings.Clone(id))
	if session == nil || !s.config.Resume.Exists(session) {
		return messages.ReasonNoSession
	}
	answer := make(chan messages.Reason, 1)
	ask := &messages.TakeUp{Secret: secret, User: who.user, Source: who.source, Expires: s.tokenEnd(who), WebSocket: client, Answer: answer}
	ask.Attempt, _ = readPosition(t.query.Get("attempt"))
	ask.Position, ask.Readable = readPosition(t.query.Get(t.unit))
	s.config.Root.Send(session, ask)
	look := time.NewTicker(existsLook)
	defer look.Stop()
	for {
		select {
		case reason := <-answer:
			return reason
		case <-look.C:
			if s.config.Resume.Exists(session) {
				continue
			}
			select {
			case reason := <-answer:
				return reason
			default:
				return messages.ReasonNoSession
			}
		}
	}
}

// isTokenID reports whether an id has no characters but those of base64url: it becomes
// part of an actor's name.
func isTokenID(id string) bool {
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return id != ""
}

// readPosition reads a position or an attempt: digits alone, up to
// [messages.MaxPosition].
func readPosition(text string) (n uint64, ok bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > messages.MaxPosition {
		return 0, false
	}
	return n, true
}
