package resume

import (
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// A socket is one WebSocket of a session.
type socket struct {
	session *Session
	number  uint32 // set once
	conn    *wsock.Conn
	ws      wsock.Session
	parts   assembly // of its reading pump

	begun  bool // under session.mu: the first message is on its way
	opened bool // under session.mu: it was written
	broken bool // under session.mu: a write has failed, and its reader will find the end
}

func (k *socket) init(s *Session, number uint32) {
	k.session, k.number = s, number
	k.ws.Init(s.settings.Host, k.ended)
}

// read starts to read the client.
func (k *socket) read() {
	k.ws.Read("resume in", wsock.Receiver{
		Texts: true, Boundaries: true, Afresh: true, Payload: k.payload, Ended: k.left, Held: k.pong,
	})
}

// pong tells the client that the server is there, asked or not. A client that is held up
// by a limit in the middle of a message would else give its WebSocket up, because its
// ping stands behind that, and begin the message again, and so on. Any goroutine may
// call it.
func (k *socket) pong() {
	k.conn.Urge(wsock.UrgentAnswer, k.session.frame([]byte(messages.PongText)))
}

// left is called by the reading pump when nothing more is read.
func (k *socket) left() {
	k.parts.release()
	if code, closed := k.ws.CloseFrame(); closed && !isLoss(code) && !k.isStale() {
		k.session.sink.Leaving()
	}
}

func (k *socket) isStale() bool {
	s := k.session
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != k
}

// Close codes after which a session waits for another WebSocket: front proxies say
// the first when they reload, servers the second when they restart, and a client the
// third that gives the WebSocket up for good (protocol, section 9).
const (
	closeGoingAway      = messages.CloseGoingAway
	closeServiceRestart = 1012
	closeGivenUp        = 4000
)

func isLoss(code int) bool {
	return code == closeGoingAway || code == closeServiceRestart || code == closeGivenUp
}

// ended makes the message by which the owner hears how the WebSocket has ended, and
// detaches it if it is lost. It is called by the pumps of the socket and by the
// keepalive.
func (k *socket) ended(reason messages.Reason) any {
	told := &messages.WebSocketEnded{Number: k.number, Reason: reason}
	lost := messages.ReasonClientLost
	switch reason {
	case messages.ReasonClientClosed:
		code, _ := k.ws.CloseFrame()
		told.Lost = isLoss(code)
		if !told.Lost && code != messages.CloseNormal {
			told.Reason = messages.ReasonClientAborted
		}
		if code == closeGivenUp {
			lost = reason // it is answered
		}
	case messages.ReasonClientGone, messages.ReasonClientSilent, messages.ReasonClientStalled, messages.ReasonProtocolError:
		told.Lost = true
	}
	s := k.session
	s.mu.Lock()
	told.Known = s.known
	if s.reason != "" && !s.reason.IsAnswered() {
		told.Lost = false // it is over all the same
	}
	current := s.socket == k
	var older *socket
	if current && told.Lost {
		s.socket = nil
		s.changed.Broadcast()
		if lost == reason { // it lingers, maybe in a write
			older, s.before = s.before, k
		}
	}
	s.clientEnded = s.clientEnded || current && !told.Lost && reason == messages.ReasonClientClosed
	s.mu.Unlock()
	if older != nil {
		older.ws.Drop()
	}
	if current && told.Lost {
		k.finish(lost)
	}
	return told
}

// finish sends what is kept, if the client still is there, and the close frame, and
// waits for the answer. The first call counts.
func (k *socket) finish(reason messages.Reason) {
	k.ws.Finish(reason, func(reason messages.Reason) messages.Reason {
		if !k.ws.BeginClose(reason) {
			k.awaitWritten()
		}
		k.ws.Close(reason)
		return reason
	}, k.finished)
}

// awaitWritten waits until the client has been sent all, or the socket is broken.
// The linger of a socket that closes breaks it in time.
func (k *socket) awaitWritten() {
	s := k.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.socket == k && s.writing && !k.broken {
		s.changed.Wait()
	}
}

// finished ends the session, if it is to end, and its client need not say more. A
// close frame that means a loss, and crosses ours, answers nothing.
func (k *socket) finished(reason messages.Reason) {
	s := k.session
	code, answered := k.ws.CloseFrame()
	answered = answered && !isLoss(code)
	s.mu.Lock()
	if s.before == k {
		s.before = nil // it lingers no more
	}
	ends := s.last == k && (answered || s.cut || !s.reason.IsAnswered())
	waits := s.last == k && !ends
	s.mu.Unlock()
	switch {
	case ends:
		s.end(reason)
	case waits:
		s.endLater()
	}
}
