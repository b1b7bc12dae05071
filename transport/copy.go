package transport

import (
	"encoding/binary"
	"errors"
	"io"

	"wsproxy/messages"
)

// pumpUp copies from the client to the target until the client has ended, and
// returns why. When the line closes, or the target takes no more, it goes on
// reading, to no purpose but to let the client read what was sent to it.
func (l *line) pumpUp() messages.Reason {
	in, err := newReader(l.client.conn, 0)
	if err != nil {
		return messages.ReasonInternal
	}
	frames := decoder{onPing: l.client.answer, limit: messages.MaxClientMessage}
	forward, refused := !l.discard.Load(), false
	if forward {
		frames.byWord = l.far.boundaries()
	}
	for {
		l.client.reading.Store(true)
		buf, n, err := in.read()
		l.client.reading.Store(false)
		if err != nil {
			return l.client.failure(err)
		}
		l.client.heard.Add(1)

		for rest := buf[:n]; len(rest) > 0; {
			var data []byte
			var result decoded
			var reason messages.Reason
			data, rest, result, reason = frames.decode(rest)
			forward = forward && !l.discard.Load()
			if forward && (len(data) > 0 || result == decodedMessage) {
				// A target that takes no more may still have sent bytes that
				// the client is to get; the down pump finds their end.
				forward = l.writeUp(data, result == decodedMessage)
			}
			switch result {
			case decodedClose:
				if len(frames.control) >= 2 {
					l.echoClose = int(binary.BigEndian.Uint16(frames.control))
				}
				giveBuffer(buf)
				return messages.ReasonClientClosed
			case decodedBad:
				if reason == messages.ReasonProtocolError {
					l.garbled = true
					giveBuffer(buf)
					return reason
				}
				// The client is read on, to its close frame.
				forward = false
				if !refused {
					refused = true
					l.tell(&messages.PumpEnded{Reason: reason})
				}
			}
		}
		giveBuffer(buf)
	}
}

// writeUp passes bytes on to the target, and reports whether it took them.
func (l *line) writeUp(data []byte, boundary bool) bool {
	if err := l.far.write(data, boundary); err != nil {
		return false
	}
	l.up.Add(int64(len(data)))
	return true
}

// pumpDown copies from the target to the client until one of them has ended,
// or the line closes, and returns why.
func (l *line) pumpDown() messages.Reason {
	for !l.discard.Load() {
		buf, n, err := l.far.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return messages.ReasonTargetEnded
			}
			return messages.ReasonTargetReset
		}
		start := putHeader(buf[:], opBinary, n)
		err = l.client.write(buf[start : serverHeader+n])
		giveBuffer(buf)
		if err != nil {
			if !l.discard.Load() {
				// What the client sent before it went away still reaches the
				// target; the up pump ends when it has passed that on. Once
				// the line closes it passes nothing on, and may read for as
				// long as a client sends that reads nothing.
				<-l.upDone
			}
			return l.client.failure(err)
		}
		l.down.Add(int64(n))
	}
	return messages.ReasonTargetEnded
}
