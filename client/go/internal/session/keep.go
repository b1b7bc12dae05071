package session

import (
	"errors"
	"fmt"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// Close codes of the contract that the package messages has no name for.
const (
	closeTaken  = 4001 // another WebSocket has the session
	closeGone   = 4404 // there is no such session any more
	closeCannot = 4409 // it can't be continued from there
)

// isFinal reports whether a close code ends a session. Any other ends its
// WebSocket alone: front proxies have words of their own.
func isFinal(code int) bool {
	switch code {
	case messages.CloseNormal, messages.CloseProtocolError, messages.CloseUnsupported, messages.ClosePolicy,
		messages.CloseTooBig, messages.CloseInternal, closeTaken, closeGone, closeCannot:
		return true
	}
	return false
}

// errSilent is of a WebSocket on which nothing came any more.
var errSilent = errors.New("the server does not answer any more")

// answering is how long the close frame with which this side ends a session may
// take to be written.
const answering = time.Second

// keep is the session's keeper: it reads its WebSocket, and finds another one when
// that is lost, until the session is over.
func (s *Session) keep(sock *socket.Conn) {
	for sock != nil {
		err := s.read(sock)
		if end, ok := s.detach(sock, err); ok {
			s.finish(end)
			return
		} else {
			err = end
		}
		sock = s.takeUp(err)
	}
}

// attach gives the session a WebSocket, on which an ack is due. Under mu.
func (s *Session) attach(sock *socket.Conn) {
	s.line = line{ack: s.resumable}
	if s.resumable {
		s.line.next = s.out.Acknowledged()
	}
	s.sock = sock
	s.pulse.start(s)
	sock.OnPing = func(payload string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.line.wsPong = &payload
		s.work.Signal()
	}
	s.work.Signal()
}

// detach takes the WebSocket from the session, and reports whether that is the end
// of the session, and which, or else why the WebSocket was lost.
func (s *Session) detach(sock *socket.Conn, err error) (end error, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sock = nil
	s.pulse.stop()
	if s.line.silent {
		err = errSilent
	}
	var closed *socket.CloseError
	var broken *violation
	answer := closing{}
	switch {
	case errors.As(err, &broken):
		answer, end, over = closing{code: broken.code, reason: broken.what}, err, true
	case errors.As(err, &closed) && (!s.resumable || isFinal(closed.Code) || s.line.close && closed.Code == s.closing.code):
		answer, end, over = closing{code: closed.Code}, s.meaning(closed), true
	case !s.resumable || s.ctx.Err() != nil:
		end, over = fmt.Errorf("the connection to the server is lost: %w", err), true
	default:
		end = err
	}
	s.closing.tried = s.closing.tried || s.line.close
	s.leave(sock, answer)
	return end, over
}

// leave ends a WebSocket, with a close frame if one is due, and waits for the
// writer. Under mu.
func (s *Session) leave(sock *socket.Conn, answer closing) {
	if answer.code == 0 {
		sock.Abandon()
	} else {
		sock.SetWriteDeadline(time.Now().Add(answering))
	}
	for s.line.writing {
		s.changed.Wait()
	}
	if answer.code == 0 {
		return
	}
	said := s.line.close
	s.mu.Unlock()
	defer s.mu.Lock()
	if !said && sock.Close(answer.code, answer.reason) != nil {
		sock.Abandon()
		return
	}
	sock.Linger()
}

// meaning returns how a session has ended that a close frame has ended. Under mu.
func (s *Session) meaning(closed *socket.CloseError) error {
	switch {
	case closed.Code == messages.CloseNormal, s.line.close && closed.Code == s.closing.code:
		return nil
	case closed.Code == closeTaken:
		return fmt.Errorf("%w: %w", ErrReplaced, closed)
	case closed.Code == closeGone && s.closing.tried && s.isDelivered():
		return nil // it was closed by this side, and the answer to that was lost
	case closed.Code == closeGone || closed.Code == closeCannot:
		return fmt.Errorf("%w: %w", ErrLost, closed)
	}
	return closed
}

// finish ends the session.
func (s *Session) finish(err error) {
	s.mu.Lock()
	s.over, s.err, s.sock = true, err, nil
	s.pulse.stop()
	if s.resumable {
		s.out.Drop()
		s.in.Drop()
	}
	orderly := err == nil && !s.resumable && s.o.Unit == replay.Bytes && !s.ended
	s.work.Broadcast()
	s.changed.Broadcast()
	s.mu.Unlock()
	s.cancel()
	if orderly {
		s.o.Sink.PeerEnded()
	}
	s.o.Sink.Ended(err)
	close(s.done)
}
