package transport

import (
	"io"
	"time"

	"wsproxy/messages"
)

// Finish ends the link: what waits is written, the WebSocket is closed, the
// raw port too.
func (l *link) Finish(reason messages.Reason) {
	switch l.state.Swap(lineFinishing) {
	case lineFinishing:
	case lineOpen: // there is no client yet
		l.tell(&messages.MuxClosed{})
	case lineAttached:
		l.cancel()
		startPump(l.tools.log, "finish tunnel", func() { l.finish(reason) }, func() {
			l.client.conn.Close()
			l.lanes.clear()
			l.answers.end()
			l.tell(&messages.MuxClosed{})
		})
	}
}

// finish closes the link, as a relay's line is closed.
func (l *link) finish(reason messages.Reason) {
	deadline := time.Now().Add(messages.Linger)
	if listener := l.listener.Load(); listener != nil {
		listener.Close()
	}
	l.discard.Store(true)
	if clientIsGone(reason) {
		l.lanes.clear()
		_ = l.client.conn.SetDeadline(longAgo)
	} else {
		l.lanes.end()
		_ = l.client.conn.SetWriteDeadline(deadline)
	}
	if l.writeDone != nil {
		<-l.writeDone
	}
	defer l.tools.keepalive.remove(l.client)
	goodbye(l.client, reason, &l.echoClose, deadline)
	if l.readDone == nil {
		l.readDone = l.pump("tunnel in", l.pumpIn)
	}
	<-l.readDone
	if l.garbled {
		_, _ = io.Copy(io.Discard, l.client.conn) // its frames can't be told apart any more
	}
}
