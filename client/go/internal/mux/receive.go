package mux

import (
	"io"
	"net"
	"strconv"
	"time"

	"wsproxy/client/go/internal/wire"
	"wsproxy/messages"
)

// Take gets one complete message of the server. It never blocks, and keeps
// nothing of payload, which it overwrites.
func (m *Mux) Take(payload []byte, json bool) {
	m.mu.Lock()
	defer m.unlock()
	if m.ended {
		return
	}
	// Streams bound what waits in them: so with Take a message is passed on.
	if len(m.answers) >= maxAnswers {
		m.withheld++
	} else {
		m.tell.passed++
	}
	if json {
		m.takeControl(payload)
	} else {
		m.takeData(payload)
	}
}

func (m *Mux) takeControl(payload []byte) {
	message, err := wire.DecodeServer(payload)
	if err != nil {
		m.fail("a control message can't be read")
		return
	}
	ready, isReady := message.(*messages.Ready)
	if isReady != (m.ready == nil) {
		if message != nil || m.ready == nil {
			m.fail("tunnel_ready is the first message, and comes once")
		}
		return
	}
	switch message := message.(type) {
	case *messages.Ready:
		m.ready = ready
		m.url, m.rawAddr = addr(ready.TunnelURL), addr(RawAddr(*ready))
		close(m.readied)
	case *wire.Opened:
		m.open(message)
	case *wire.Expires:
		if m.Fresh != nil && !m.renewing {
			m.renewing = true
			go m.renew()
		}
	case *messages.Close:
		if s := m.streams[message.ConnID]; s != nil {
			s.peerClosed(message.Reason)
		}
	case *messages.Credit:
		if s := m.streams[message.ConnID]; s != nil {
			s.credited(message.Bytes)
		}
	}
}

// renew shows the server a fresh token. Without one the session ends when the server says
// so.
func (m *Mux) renew() {
	token, err := m.Fresh()
	m.mu.Lock()
	defer m.unlock()
	m.renewing = false
	if err == nil && token != "" && !m.ended {
		m.answer(wire.EncodeAuth(token))
	}
}

// RawAddr returns host and port of a tunnel's raw connections; "" if it has none.
func RawAddr(r messages.Ready) string {
	if r.RawPort == 0 {
		return ""
	}
	return net.JoinHostPort(r.RawHost, strconv.Itoa(int(r.RawPort)))
}

// open makes a stream that waits to be accepted, or refuses it.
func (m *Mux) open(opened *wire.Opened) {
	id := opened.ConnID
	if len(id) > messages.MaxConnID || m.streams[id] != nil {
		m.fail("tcp_open has a connId that can't be")
		return
	}
	l := m.Raw
	if opened.Protocol == messages.ProtocolHTTP {
		l = m.HTTP
	}
	known := opened.Protocol == "" || opened.Protocol == messages.ProtocolHTTP
	if !known || l.isFull() || len(m.streams) >= MaxStreams {
		m.recent.add(id)
		m.answer(wire.EncodeClose(id, messages.ClientRefused))
		return
	}
	s := newStream(m, opened)
	m.streams[id] = s
	l.put(s, time.Now())
}

// answer sends a control message about a stream that there is not, or a fresh token.
func (m *Mux) answer(message []byte) {
	m.answers = append(m.answers, message)
	m.wake()
}

func (m *Mux) takeData(message []byte) {
	id, payload, ok := wire.SplitData(message)
	if !ok {
		m.fail("a data message has no connId")
		return
	}
	s := m.streams[string(id)]
	if s == nil {
		if name := string(id); m.recent.add(name) {
			m.answer(wire.EncodeClose(name, ""))
		}
		return
	}
	s.came(payload)
}

// came takes what the server has sent on a stream.
func (s *Stream) came(payload []byte) {
	if !s.window.came(len(payload)) {
		s.broke(&Error{Reason: reasonOverrun})
		s.mux.answer(wire.EncodeClose(s.id, messages.ClientReset))
		return
	}
	switch {
	case s.readErr != nil: // behind its end, which is no honest server's
	case s.closed: // the peer is not held up: it may have to get rid of this before it reads what is left for it
		s.give()
	case len(payload) > 0:
		s.arrived(payload)
	}
}

// give gives back credit if enough was read for that.
func (s *Stream) give() {
	if s.readErr != nil || s.gone || !s.window.due(s.in.size) {
		return
	}
	if s.giving == 0 {
		s.mux.crediting = append(s.mux.crediting, s)
	}
	s.giving += s.window.credit(s.in.size, time.Now(), &s.mux.widened)
	s.mux.wake()
}

// credited lets more be sent. What exceeds the widest window is a server that
// counts wrongly.
func (s *Stream) credited(n int) {
	before := s.sendable()
	s.may = min(s.may+min(n, messages.MaxWindow), messages.MaxWindow)
	s.ask(before)
}

// peerClosed notes the server's tcp_close.
func (s *Stream) peerClosed(reason string) {
	if reason != string(messages.CloseEOF) {
		s.broke(brokeFor(reason))
		return
	}
	if s.readErr == nil {
		s.readErr = io.EOF
		s.giving = 0
		s.readable.Broadcast()
	}
	if s.said == endEOF { // both have said their last
		s.forget()
	}
}
