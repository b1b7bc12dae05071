package transport

import (
	"encoding/binary"
	"regexp"
	"time"

	"wsproxy/messages"
)

// inboundWindow is how many bytes may be on their way from a tunnel's reader to
// its actors: so much is posted before the reader waits for them.
const inboundWindow = 1 << 20

// messageCost is about how many bytes a message to an actor costs, beside what
// it carries.
const messageCost = 256

// controlBacklog is how many control messages may wait for a client before what
// it sends, and what would be answered with more of them, is not read.
const controlBacklog = 1024

// An inbound takes a tunnel client's messages apart. Control messages are
// joined and decoded, once; data frames are passed on piece by piece, as they
// come. It belongs to the reading pump.
type inbound struct {
	link    *link
	kind    inboundKind
	message []byte    // the control message so far, charged to link.answers
	began   time.Time // when the first of it came
	unasked bool      // there was no memory for its beginning, and nobody has waited for some
	tail    []byte    // the last bytes of one that was given up before its id came
	head    []byte    // the data frame's header so far
	connID  string    // of the data frame
}

type inboundKind uint8

const (
	inboundNone inboundKind = iota // between messages
	inboundControl
	inboundHeader // in the header of a data frame
	inboundData   // in its payload
	inboundLost   // in a control message that was given up before its id came
	inboundSkip   // in a message that is of no use
)

// pumpIn reads the client's messages until the client has ended, and returns
// why. When the link closes it goes on reading, to no purpose but to let the
// client read what was sent to it.
func (l *link) pumpIn() messages.Reason {
	in, err := newReader(l.client.conn, 0)
	if err != nil {
		return messages.ReasonInternal
	}
	frames := decoder{onPing: l.client.answer, byWord: true, texts: true, limit: l.tools.maxMessage}
	to := inbound{link: l}
	piece := func(data []byte, text, end bool) bool { to.piece(data, text, end); return true }
	if g := l.gossh; g != nil {
		joiner := gosshJoiner{piece: to.piece, knows: g.knows, limit: l.tools.maxMessage}
		piece = joiner.take
	}
	refused := false
	// The client is read on, to its close frame.
	refuse := func(reason messages.Reason) {
		if !refused {
			refused = true
			l.tell(&messages.MuxEnded{Reason: reason})
		}
	}
	for {
		to.waitForRoom()
		l.client.reading.Store(true)
		buf, n, err := in.read()
		l.client.reading.Store(false)
		if err != nil {
			return l.client.failure(err)
		}
		l.client.heard.Add(1)
		l.received.Add(int64(n))
		for rest := buf[:n]; len(rest) > 0; {
			var data []byte
			var result decoded
			var reason messages.Reason
			data, rest, result, reason = frames.decode(rest)
			if !refused && !l.discard.Load() && (len(data) > 0 || result == decodedMessage) &&
				!piece(data, frames.isText, result == decodedMessage) {
				refuse(messages.ReasonMessageTooBig)
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
				refuse(reason)
			}
		}
		giveBuffer(buf)
	}
}

// waitForRoom waits until what was read has been dealt with far enough. A
// control message that waits for the memory of other tunnels for too long is
// given up: else two of them could wait for each other for ever. So is one, at
// once, that would not fit if they had none, and one that takes longer to come
// than any request waits for an answer.
func (in *inbound) waitForRoom() {
	l := in.link
	if in.kind == inboundControl &&
		(int64(len(in.message)) >= l.tools.total.limit || time.Since(in.began) > l.tools.timeout) {
		in.giveUp()
	}
	if !in.wantsRoom() {
		in.unasked = false
		return
	}
	// Bytes of other tunnels come back without a signal to this one.
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	patience := time.Now().Add(2 * l.tools.stall)
	for in.wantsRoom() && !l.discard.Load() {
		select {
		case <-l.room:
		case <-l.stop:
			return
		case now := <-look.C:
			if in.kind == inboundControl && now.After(patience) {
				in.giveUp()
			}
		}
	}
	in.unasked = false
}

// wantsRoom reports whether reading must wait: for the actors, for outside
// peers, for memory that a control message takes, or for a client that makes the
// proxy answer and doesn't read. Data waits for no memory but that which the
// tunnel's own peers hold.
func (in *inbound) wantsRoom() bool {
	l := in.link
	return l.inbound.full() || l.buffer.full() || in.kind == inboundControl && l.memory.full() ||
		l.lanes.backlog() >= controlBacklog
}

// piece takes a piece of a message, the last one if end is set.
func (in *inbound) piece(data []byte, text, end bool) {
	for len(data) > 0 {
		switch in.kind {
		case inboundNone:
			in.begin(data[0], text)
		case inboundControl:
			in.join(data)
			data = nil
		case inboundHeader:
			data = in.header(data)
		case inboundData:
			in.post(&messages.Data{ConnID: in.connID, Data: keep(data)}, len(data))
			data = nil
		case inboundLost:
			in.seek(append(in.tail, data...))
			data = nil
		case inboundSkip:
			data = nil
		}
	}
	if end {
		in.finish()
	}
}

func (in *inbound) begin(first byte, text bool) {
	in.kind = inboundHeader
	if text || first == '{' {
		in.kind = inboundControl
	}
}

func (in *inbound) join(data []byte) {
	begins := len(in.message) == 0
	in.message = append(in.message, data...)
	in.link.answers.add(int64(len(data)))
	if begins {
		in.began = time.Now()
		in.unasked = in.link.memory.full()
	}
}

// header reads the header of a data frame, and returns what follows it.
func (in *inbound) header(data []byte) (rest []byte) {
	need := 4
	if len(in.head) >= 4 {
		need += int(binary.BigEndian.Uint32(in.head))
	}
	n := min(need-len(in.head), len(data))
	in.head = append(in.head, data[:n]...)
	if len(in.head) < need {
		return data[n:]
	}
	if need == 4 {
		switch idLen := binary.BigEndian.Uint32(in.head); {
		case idLen > messages.MaxConnID:
			in.skip("a data frame whose connId is too long")
			return data[n:]
		case idLen > 0:
			return data[n:]
		}
	}
	in.connID = string(in.head[4:])
	in.kind = inboundData
	if g := in.link.gossh; g != nil {
		g.heard(in.connID)
	}
	return data[n:]
}

func (in *inbound) skip(what string) {
	in.kind = inboundSkip
	in.post(&messages.Garbage{What: what}, 0)
}

// finish ends a message.
func (in *inbound) finish() {
	switch in.kind {
	case inboundControl:
		in.control()
	case inboundHeader, inboundNone:
		in.post(&messages.Garbage{What: "a data frame that ends in its header"}, 0)
	}
	in.kind, in.head, in.connID, in.tail = inboundNone, in.head[:0], "", nil
}

// control decodes a control message and passes it on. What a response is
// charged goes with it.
func (in *inbound) control() {
	l, size := in.link, len(in.message)
	message, err := messages.DecodeControl(in.message)
	in.message = nil
	if r, ok := message.(*messages.Response); ok {
		switch {
		case l.gossh != nil && l.gossh.answered(r.ID):
			message = nil // it was asked for nothing but to be answered
		case in.unasked && l.memory.full(): // it came in one read
			message = &messages.Dropped{ID: r.ID, Reason: messages.ReasonMemory}
		default:
			in.post(&messages.FromClient{Message: r, Size: size}, size)
			return
		}
	}
	if message != nil {
		in.post(&messages.FromClient{Message: message, Size: size}, size)
	} else if err != nil {
		in.post(&messages.Garbage{What: err.Error()}, 0)
	}
	l.answers.add(int64(-size))
}

// idInResponse finds the id of a response that is not read to its end.
var idInResponse = regexp.MustCompile(`"id"\s*:\s*"([0-9a-f]{12})"`)

// seekTail is more than idInResponse matches in any message that is written
// with some sense.
const seekTail = 64

// giveUp drops a control message for want of memory. If it is a response, its
// request is told so.
func (in *inbound) giveUp() {
	message := in.message
	in.message = nil
	in.link.answers.add(int64(-len(message)))
	in.post(&messages.Garbage{What: "a control message for which there was no memory"}, 0)
	in.seek(message)
}

// seek looks for the id of a response that was given up, in what it has read
// of it and not looked at.
func (in *inbound) seek(text []byte) {
	if id := idInResponse.FindSubmatch(text); id != nil {
		in.post(&messages.FromClient{Message: &messages.Dropped{ID: string(id[1]), Reason: messages.ReasonMemory}}, 0)
		in.kind, in.tail = inboundSkip, nil
		return
	}
	in.kind = inboundLost
	in.tail = append([]byte(nil), text[max(0, len(text)-seekTail):]...)
}

// post passes a message on that carries n bytes. Each is charged with what it
// costs itself, too: a client can't make more of them wait than the window.
func (in *inbound) post(message any, n int) {
	in.link.inbound.add(int64(n) + messageCost)
	in.link.tools.root.Send(in.link.handler, message)
}
