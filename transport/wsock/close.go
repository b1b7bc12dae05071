package wsock

import (
	"io"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// Finish begins the end of the session. The first call counts, later ones
// change nothing. If the session has its WebSocket, run is called in a pump: it
// must call BeginClose, see the writing pump to its end, and call Close. Then,
// or at once without a WebSocket, closed is called with the reason that run
// returned, or this one.
func (s *Session) Finish(reason messages.Reason, run func(messages.Reason) messages.Reason, closed func(messages.Reason)) {
	s.cancel()
	switch s.state.Swap(sessionClosing) {
	case sessionOpen: // there is no client yet
		closed(reason)
	case sessionAttached:
		s.host.StartBrief("finish", func() { reason = run(reason) }, func() {
			s.release() // did not come to it if run failed
			s.host.attached.Add(-1)
			closed(reason)
		})
	}
}

// BeginClose ends the passing on of what is read, and bounds the wait for the
// client: it has as long as its kernel acknowledges something new (protocol,
// section 8), [messages.Linger] in all if the end is forced. The run of Finish calls
// it. It reports whether the client is gone, so that nothing can be sent to it.
func (s *Session) BeginClose(reason messages.Reason) (gone bool) {
	s.discard.Store(true)
	conn := &s.conn.conn
	if s.isGone(reason) {
		_ = conn.SetDeadline(LongAgo)
		return true
	}
	if reason.IsForced() {
		_ = conn.SetDeadline(time.Now().Add(messages.Linger))
	}
	s.conn.linger = NewLinger(s.conn.raw, func() { _ = conn.SetDeadline(LongAgo) })
	if s.cut.Load() { // maybe before the deadline was moved
		_ = conn.SetDeadline(LongAgo)
	}
	return false
}

// Cut ends the waiting for the client of a session that closes: what it has not
// taken is lost. Without a WebSocket it does nothing.
func (s *Session) Cut() {
	s.cut.Store(true)
	if s.conn != nil {
		_ = s.conn.conn.SetDeadline(LongAgo)
	}
}

// orphaned is how many bytes at most the kernel goes on sending, by itself, to a client
// that was dropped: as a close frame behind little is, which a client that reads has soon.
const orphaned = 64 << 10

// Drop is Cut for a WebSocket that others have taken the place of again and again. The
// kernel, which else sends on for minutes what a client that reads nothing has not taken,
// a [SendBuffer] for each, keeps no more than a little of it.
func (s *Session) Drop() {
	s.dropped.Store(true)
	s.Cut()
}

// Interrupt ends the write under way, of a WebSocket whose session has another one
// by now. A frame that is torn by it is the last thing that the client gets.
func (s *Session) Interrupt() { _ = s.conn.conn.SetWriteDeadline(LongAgo) }

// WasCut reports whether Cut was called. Any goroutine may call it.
func (s *Session) WasCut() bool { return s.cut.Load() }

// isGone reports whether nobody is there any more to be sent a close frame. A
// client that has merely ended its sending side still reads.
func (s *Session) isGone(reason messages.Reason) bool {
	switch reason {
	case messages.ReasonClientGone:
		return !s.halfClosed.Load() // or the writer found out
	case messages.ReasonClientSilent, messages.ReasonClientStalled, messages.ReasonClientLost:
		return true
	}
	return false
}

// Close sends the close frame for reason, reads the client to its end, and
// closes the socket. Closed at once, the kernel would answer what the client
// still sends with a reset, and the client would lose what it has not read
// (protocol, section 8). The run of Finish calls it when the writing pump has
// ended.
func (s *Session) Close(reason messages.Reason) {
	defer s.release()
	told := s.sendClose(reason)
	if !s.reads { // it closes before it began
		s.Read("discard", Receiver{Texts: true})
	}
	s.reader.Wait()
	// Before the socket is closed: what is unread, as it may be of a client that HasLeft,
	// would have the kernel send a reset and no end. Of a garbled client no answer would be
	// understood.
	if told {
		s.conn.endSending()
	}
	if s.garbled {
		_, _ = io.Copy(io.Discard, &s.conn.conn)
	}
}

// release lets go of the client, however often it is called.
func (s *Session) release() {
	if s.released {
		return
	}
	s.released = true
	if s.conn.linger != nil {
		s.conn.linger.Stop()
	}
	s.host.keepalive.remove(s.conn)
	if s.dropped.Load() && kernel.Look(s.conn.raw).Unacked > orphaned {
		_ = s.conn.conn.SetLinger(0)
	}
	s.conn.conn.Close()
	s.conn.endLimit()
}

// sendClose sends the close frame for reason, unless nobody is there to read it, and reports
// whether it has.
func (s *Session) sendClose(reason messages.Reason) (told bool) {
	s.conn.leaving.Store(true)
	if s.isGone(reason) {
		_ = s.conn.conn.SetLinger(0) // what the kernel still holds for the client goes too
		return false
	}
	code, text := messages.CloseFor(reason)
	var until time.Time // as long as the linger says, but for
	switch {
	case (reason == messages.ReasonClientClosed || reason == messages.ReasonClientAborted) && s.closeCode != 0:
		code, text = s.closeCode, "" // RFC 6455, section 5.5.1
	case reason == messages.ReasonShutdown:
		text = s.host.restartText()
	case reason == messages.ReasonTakenOver: // after an Interrupt
		until = time.Now().Add(messages.Linger)
	}
	switch err := s.conn.writeClose(code, text, until); {
	case err != nil:
		_ = s.conn.conn.SetLinger(0)
		_ = s.conn.conn.SetReadDeadline(LongAgo)
		return false
	case s.conn.linger == nil:
		s.conn.endSending()
	default:
		s.conn.linger.WhenQuiet(finDelay, s.conn.endSendingTaken)
	}
	return true
}

// finDelay is how long after all that a client was sent has been acknowledged the server
// ends its sending side, if the client has not answered the close frame by then. Ended at
// once, nginx and HAProxy take it for the end of both directions: they drop the client's
// answer, for which a session that outlives its WebSocket would wait for RESUME_TIMEOUT,
// and reset a client that is still sending, before it has read its last bytes. (RFC 6455,
// section 7.1.1, has the server close when both close frames have been sent.) An answer
// takes a round trip; who waits for the stream's end without one has it long before
// [messages.Linger] is over.
const finDelay = time.Second

// restartText is what a client is told when the server shuts down.
func (h *Host) restartText() string { return messages.RestartText(int(h.restarting.Load())) }

// Refuse closes a WebSocket that no session wants, so that the close arrives.
func (h *Host) Refuse(c *Conn, reason messages.Reason) {
	defer c.conn.Close()
	c.endLimit()
	_ = c.conn.SetDeadline(time.Now().Add(messages.Linger))
	code, text := messages.CloseFor(reason)
	if reason == messages.ReasonShutdown {
		text = h.restartText()
	}
	if c.writeClose(code, text, time.Time{}) == nil {
		c.endSending() // its frames are not read, so no answer would be seen
		_, _ = io.Copy(io.Discard, &c.conn)
	}
}
