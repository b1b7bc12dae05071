package tunnel

import (
	"time"

	"wsproxy/messages"
	"wsproxy/messages/renewal"
	"wsproxy/transport/pieces"
	"wsproxy/transport/wsock"
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
	mux      *Mux
	take     Pieces // what the client's dialect makes of the next pieces
	kind     inboundKind
	size     int64            // bytes of the message so far
	began    time.Time        // when the first of it came
	unasked  bool             // there was no memory for its beginning, and nobody has waited for some
	gaveUp   bool             // a control message was given up for want of memory, and there was none since
	lost     messages.Reason  // why the control message is not kept
	answer   bool             // what is skipped is a response, of any length
	head     pieces.Header    // the data frame's header so far
	connID   string           // of the data frame
	gathers  bool             // flush is called when the bytes are about to be overwritten; else piece by piece
	gathered [][]byte         // payload for to that was not passed on yet
	to       *Stream          // of the latest data frame; nil if its connID is that of none
	refused  messages.Reason  // why nothing more is taken
	message  pieces.Revocable // the control message so far, charged to mux.answers
}

type inboundKind uint8

const (
	inboundNone inboundKind = iota // between messages
	inboundControl
	inboundHeader // in the header of a data frame
	inboundData   // in its payload
	inboundLost   // in a control message that is not kept
	inboundSkip   // in a message that is of no use
)

// startReading starts the pump that reads the client's messages.
func (m *Mux) startReading() {
	in := m.newInbound()
	_, in.gathers = m.dialect.(plain) // others may pass on what is their own
	m.session.Read("tunnel in", wsock.Receiver{
		Texts: true, Boundaries: true, Wait: in.waitForRoom, Payload: in.payload,
		Received: m.movedIn, Done: in.flush,
	})
}

func (m *Mux) newInbound() *inbound {
	in := &inbound{mux: m, message: pieces.Revocable{Charge: m.answers.Add}}
	in.take = m.dialect.Reassemble(in.piece)
	m.comes.Store(in)
	return in
}

func (in *inbound) payload(data []byte, text, end bool) (refused messages.Reason) {
	if in.take(data, text, end); !in.gathers {
		in.flush()
	}
	return in.refused
}

// waitForRoom waits until what was read has been dealt with far enough. A
// control message that waits for the memory of other tunnels for too long is
// given up: else two of them could wait for each other for ever. So is one, at
// once, that would not fit if they had none, and one that takes longer to come
// than any request waits for an answer.
func (in *inbound) waitForRoom() {
	m := in.mux
	if in.kind == inboundControl &&
		(in.message.Size() >= m.memory.Limit() || time.Since(in.began) > m.settings.HTTPTimeout) {
		in.giveUp(messages.ReasonMemory)
	}
	if !in.wantsRoom() {
		in.unasked = false
		return
	}
	// Bytes of other tunnels come back without a signal to this one.
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	patience := time.Now()
	if !in.gaveUp {
		patience = patience.Add(2 * m.settings.StallTimeout)
	}
	told := false
	for in.wantsRoom() && !m.discards() {
		select {
		case <-m.room:
		case <-m.life.Closing().Done():
			return
		case now := <-look.C:
			if in.kind == inboundControl && now.After(patience) {
				in.giveUp(messages.ReasonMemory)
				in.gaveUp = true
				continue
			}
			if m.Full() && !told {
				told = true
				m.settings.Host.Send(m.handler, &messages.ReadingWaits{})
			}
		}
	}
	in.unasked, in.gaveUp = false, in.gaveUp && m.Full()
}

// wantsRoom reports whether reading must wait: for the actors, for outside
// peers, for memory, or for a client that makes the proxy answer and doesn't
// read.
func (in *inbound) wantsRoom() bool {
	m := in.mux
	kept := in.kind != inboundLost && in.kind != inboundSkip
	return m.inbound.Full() || kept && m.Full() || m.queue.Backlog() >= controlBacklog
}

// piece takes a piece of a message, the last one if end is set.
func (in *inbound) piece(data []byte, text, end bool) {
	if in.kind == inboundNone && len(data) > 0 {
		in.begin(data[0], text)
	}
	if in.size += int64(len(data)); in.size > in.mux.settings.MaxMessage {
		in.tooBig()
	}
	for len(data) > 0 {
		switch in.kind {
		case inboundControl:
			in.join(data)
			data = nil
		case inboundHeader:
			data = in.header(data)
		case inboundData:
			in.deliver(data)
			data = nil
		case inboundLost:
			in.seek(data)
			data = nil
		case inboundSkip:
			data = nil
		}
	}
	if end {
		in.finish()
	}
}

// tooBig deals with a message that is longer than it may be. A response is read
// to its end, and its request is told so; anything else ends the tunnel.
func (in *inbound) tooBig() {
	switch {
	case in.kind == inboundControl:
		in.giveUp(messages.ReasonAnswerTooBig)
	case in.kind == inboundLost:
		in.lost = messages.ReasonAnswerTooBig
	case !in.answer:
		in.refuse()
	}
}

// refuse takes no more of what the client sends.
func (in *inbound) refuse() {
	in.kind, in.refused = inboundSkip, messages.ReasonMessageTooBig
}

func (in *inbound) begin(first byte, text bool) {
	in.kind = inboundHeader
	if text || first == '{' {
		in.kind = inboundControl
	}
}

func (in *inbound) join(data []byte) {
	first, ok := in.message.Add(data)
	switch {
	case !ok:
		if in.giveUp(messages.ReasonMemory); in.kind == inboundLost {
			in.seek(data)
		}
	case first:
		in.began = time.Now()
		in.unasked = in.mux.memory.Full()
	}
}

// header reads the header of a data frame, and returns what follows it.
func (in *inbound) header(data []byte) (rest []byte) {
	rest, whole, ok := in.head.Read(data)
	switch {
	case !ok:
		in.skip("a data frame whose connId is too long")
	case whole:
		in.address(in.head.ID())
		in.kind = inboundData
		in.mux.dialect.DataReceived(in.connID)
	}
	return rest
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
	case inboundLost:
		in.endOfLost()
	}
	in.kind, in.size, in.connID, in.answer = inboundNone, 0, "", false
	in.head.Reset()
}

// control decodes a control message and passes it on. What a response is
// charged goes with it.
func (in *inbound) control() {
	text, ok := in.message.End()
	if !ok {
		if in.giveUp(messages.ReasonMemory); in.kind == inboundLost {
			in.endOfLost()
		}
		return
	}
	m, size := in.mux, text.Size
	in.flush()
	if size <= renewal.MaxMessage {
		whole := text.Whole() // which leaves nothing in text
		if token, ok := renewal.DecodeAuth(whole); ok {
			m.renewer.Take(token, m.life.Tell, m.Control)
			m.answers.Add(int64(-size))
			return
		}
		text.Chunks = [][]byte{whole}
	}
	var message any
	var err error
	pieces.Heavily(size, func() { message, err = messages.DecodeControl(text.Whole()) })
	switch r := message.(type) {
	case *messages.Close: // what comes behind it goes behind it
		m.streams.remove(r.ConnID)
		in.to = nil
	case *messages.Response:
		switch {
		case m.dialect.Answered(r.ID):
			message = nil
		case in.unasked && m.memory.Full(): // it came in one read
			message = &messages.Dropped{ID: r.ID, Reason: messages.ReasonMemory}
		default:
			in.post(&messages.FromClient{Message: r, Size: size}, 0) // it stays charged to answers
			return
		}
	}
	if message != nil {
		in.post(&messages.FromClient{Message: message, Size: size}, size)
	} else if err != nil {
		in.post(&messages.Garbage{What: err.Error()}, 0)
	}
	m.answers.Add(int64(-size))
}

// giveUp keeps nothing of a control message, for want of memory or because it is
// too long. If it is a response, its request is told so.
func (in *inbound) giveUp(reason messages.Reason) {
	in.message.Revoke() // unless it was
	what := "a control message for which there was no memory"
	if reason == messages.ReasonAnswerTooBig {
		what = "a control message that is too long"
	}
	in.post(&messages.Garbage{What: what}, 0)
	in.message.Known()
	in.kind, in.lost = inboundLost, reason
	in.seek(nil)
}

// seek looks on for what a message is that is not kept.
func (in *inbound) seek(text []byte) {
	in.message.Scan.Read(text)
	if kind := in.message.Scan.Kind(); kind == responseType && in.message.Scan.ID() != "" || kind != "" && kind != responseType {
		in.endOfLost()
	}
}

// responseType is the type of a response.
const responseType = "http_response"

// endOfLost deals with a message that was not kept, when it is known what it is
// or has ended.
func (in *inbound) endOfLost() {
	in.kind = inboundSkip
	switch {
	case in.message.Scan.Kind() == responseType:
		in.answer = true
		in.post(&messages.FromClient{Message: &messages.Dropped{ID: in.message.Scan.ID(), Reason: in.lost}}, 0)
	case in.lost == messages.ReasonAnswerTooBig:
		in.refuse()
	}
}

// post passes a message on that carries n bytes. Each is charged with what it
// costs itself, too: a client can't make more of them wait than the window.
func (in *inbound) post(message any, n int) {
	in.mux.take(int64(n) + messageCost)
	in.mux.settings.Host.Send(in.mux.handler, message)
}
