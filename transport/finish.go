package transport

import (
	"io"
	"time"

	"wsproxy/messages"
)

// Finish ends the line. Resolving and dialling stop, the pumps forward no
// more, and one goroutine sees both sockets to their ends.
func (l *line) Finish(reason messages.Reason) {
	l.cancel()
	switch l.state.Swap(lineFinishing) {
	case lineFinishing:
	case lineOpen: // there is no client yet, and so no far side either
		l.tell(&messages.PairClosed{Reason: reason})
	case lineAttached:
		startPump(l.tools.log, "finish", func() { reason = l.finish(reason) }, func() {
			l.client.conn.Close()
			if l.far != nil {
				l.far.Close()
			}
			l.tell(&messages.PairClosed{Reason: reason})
		})
	}
}

// finish closes the line, and returns why in the light of all that is known.
// The client gets its last bytes and the close frame; then both sockets are
// read to their ends, because closing one that its peer still writes to would
// reset it, and the peer would lose what it has not read (protocol, section 2).
func (l *line) finish(reason messages.Reason) messages.Reason {
	deadline := time.Now().Add(messages.Linger)
	if l.dialed != nil {
		<-l.dialed // at once, since its context has ended
	}
	l.discard.Store(true)
	if clientIsGone(reason) {
		_ = l.client.conn.SetDeadline(longAgo)
	} else {
		_ = l.client.conn.SetWriteDeadline(deadline)
	}
	if l.far != nil {
		_ = l.far.SetReadDeadline(longAgo)
		_ = l.far.SetWriteDeadline(longAgo)
	}
	if l.downDone != nil {
		<-l.downDone
	}
	if l.far != nil {
		l.far.closeWrite()
	}
	if reason == messages.ReasonTargetEnded && l.far.broke() {
		reason = messages.ReasonTargetReset
	}

	l.finishClient(reason, deadline)
	l.finishFar(deadline)
	return reason
}

// clientIsGone reports whether nobody is there any more to say goodbye to.
func clientIsGone(reason messages.Reason) bool {
	switch reason {
	case messages.ReasonClientGone, messages.ReasonClientSilent, messages.ReasonClientStalled:
		return true
	}
	return false
}

// finishClient says goodbye to the client and closes its socket.
func (l *line) finishClient(reason messages.Reason, deadline time.Time) {
	defer l.client.conn.Close()
	defer l.tools.keepalive.remove(l.client)
	goodbye(l.client, reason, &l.echoClose, deadline)
	if l.upDone == nil {
		l.upDone = l.pump("up", l.pumpUp)
	}
	<-l.upDone
	if l.garbled {
		_, _ = io.Copy(io.Discard, l.client.conn) // its frames can't be told apart any more
	}
}

// goodbye sends the close frame for reason, and sees to it that the client is
// not waited for longer than until the deadline. echo is the code of the
// client's own close frame, 0 if it sent none; it belongs to the pump that
// reads, unless that has ended with ReasonClientClosed.
func goodbye(client *socket, reason messages.Reason, echo *int, deadline time.Time) {
	client.leaving.Store(true)
	if clientIsGone(reason) {
		_ = client.conn.SetLinger(0) // what the kernel still holds for the client goes too
		return
	}
	code, text := messages.CloseFor(reason)
	if reason == messages.ReasonClientClosed && *echo != 0 {
		code, text = *echo, "" // RFC 6455, section 5.5.1
	}
	if client.writeClose(code, text) != nil {
		_ = client.conn.SetLinger(0)
		_ = client.conn.SetReadDeadline(longAgo)
		return
	}
	_ = client.conn.SetReadDeadline(deadline)
}

// finishFar lets the target read what it was sent, and closes its socket.
func (l *line) finishFar(deadline time.Time) {
	if l.far == nil {
		return
	}
	_ = l.far.SetReadDeadline(deadline)
	l.far.drain()
}
