package resume

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// fuzzSaid is what the session has sent before a client does what the fuzzer wants.
const fuzzSaid = "what the target has said"

// FuzzSession is a hostile client: it sends what a schedule says, cut anywhere, on one
// WebSocket after the other, and a naive reader of the same bytes says what must come of
// it. What comes to the sink is the payload of the messages that are accepted, in order
// and once. Of each WebSocket the owner hears what a naive reader says first, and not
// more than that it was refused and has ended.
func FuzzSession(f *testing.F) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 9))
		b := make([]byte, 10+10*(seed%10))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b, seed%3 == 0, seed%4 == 1, seed)
	}
	f.Fuzz(func(t *testing.T, schedule []byte, tunnel, stuck bool, seed uint64) {
		unit := replay.Bytes
		if tunnel {
			unit = replay.Messages
		}
		buffer, total := int64(FirstBytes), int64(0)
		if stuck { // what waits needs memory, or the client is not read
			buffer, total = 16<<20, 256<<20
		}
		r := newRigWith(t, unit, buffer, total)
		if stuck {
			r.sink.stuck, r.sink.let = true, make(chan struct{})
		}
		n := &naive{tunnel: tunnel, stuck: stuck, sent: 1}
		if !tunnel {
			n.sent = uint64(len(fuzzSaid))
		}
		a := r.begin()
		r.keep(fuzzSaid)
		a.want(fuzzSaid)
		random := rand.New(rand.NewPCG(seed, 1))
		over := false
		for plan := fuzzPlan(schedule); len(plan) > 0 && !over && r.number < 8; {
			stream := plan.stream(n, tunnel)
			a.fuzzSend(stream, random)
			over = r.fuzzEnd(a, n, n.read(stream))
			if !over {
				a = r.takeUp(a)
				if got := a.resumed(); got != n.position {
					t.Fatalf("the session has all up to %d, want %d", got, n.position)
				}
			}
		}
		if !over {
			r.finish(messages.ReasonResumeTimeout)
		}
		if stuck {
			close(r.sink.let)
		}
		a.Close()
		testkit.Receive(t, r.closed)
		r.closed <- ""
		ended := r.session.AwaitPassed()
		if got := r.sink.text(); got != string(n.payload) {
			t.Errorf("%d bytes were passed on, want %d; %.50q", len(got), len(n.payload), got)
		}
		if ended != n.ended || r.sink.ended > 1 || ended != (r.sink.ended == 1) {
			t.Errorf("the end was passed on %d times: %v, want %v", r.sink.ended, ended, n.ended)
		}
	})
}

// fuzzSend writes a stream in pieces, and ends it. Who reads it may leave before that.
func (c *client) fuzzSend(stream []byte, random *rand.Rand) {
	for cuts := random.IntN(12); len(stream) > 0; cuts-- {
		at := len(stream)
		if cuts > 0 {
			at = 1 + random.IntN(min(at, 1<<random.IntN(18)))
		}
		if _, err := c.Write(stream[:at]); err != nil {
			break
		}
		stream = stream[at:]
		runtime.Gosched()
	}
	_ = c.CloseWrite()
}

// fuzzEnd waits until the owner hears of the end of a WebSocket, which must be one of
// those that a naive reader has found, and reports whether the session is over, which
// it then ends.
func (r *rig) fuzzEnd(a *client, n *naive, ends []naiveEnd) (over bool) {
	r.t.Helper()
	gone := make(chan struct{})
	go func() { // or what is said to the client would hold the session up
		defer close(gone)
		for {
			first, payload, err := testkit.ReadFrame(a)
			if err != nil {
				return
			}
			m, _ := messages.DecodeResume(payload, a.unit.Name())
			if first == frameText && m.Kind == messages.KindAck && m.Limit > m.Position+a.unit.FirstLimit() {
				r.t.Errorf("an ack of %d grants up to %d", m.Position, m.Limit)
			}
		}
	}()
	told := testkit.Hears[*messages.WebSocketEnded](r.Ear)
	r.session.mu.Lock()
	position := r.session.in.Position() // several messages may be the first one beyond the limit
	r.session.mu.Unlock()
	found := false
	for _, end := range ends {
		if found = end.reason == told.Reason && end.position == position; found {
			n.position, n.payload, n.ended = end.position, n.payload[:end.size], end.ended
			break
		}
	}
	if !found || told.Number != r.number || told.Lost != ends[len(ends)-1].lost && told.Reason != messages.ReasonBeyondLimit {
		r.t.Fatalf("at position %d the owner hears %+v of WebSocket %d, want %+v", position, *told, r.number, ends)
	}
	if !told.Lost {
		r.finish(told.Reason)
	}
	<-gone
	if more := r.Take(); len(more) > 1 {
		r.t.Errorf("of a WebSocket that has ended the owner hears %d times more: %+v", len(more), more)
	}
	return !told.Lost
}

// A naive reader of what a client sends knows no time and no memory.
type naive struct {
	tunnel, stuck  bool
	sent           uint64 // position of the session's
	position       uint64
	passed         uint64 // of it by a sink that is stuck: leading messages without payload need none
	payload        []byte // for the sink
	ended          bool
	message        []byte
	text, inPieces bool
}

// A naiveEnd is how a WebSocket may end, and what has come then.
type naiveEnd struct {
	reason   messages.Reason
	lost     bool
	position uint64
	size     int // of payload
	ended    bool
}

// read reads a stream to its end, and returns the ends that it may have. There are
// several where the limit depends on what the client was told when.
func (n *naive) read(stream []byte) (ends []naiveEnd) {
	n.message, n.inPieces = nil, false
	end := func(reason messages.Reason) {
		lost := reason == messages.ReasonClientGone || reason == messages.ReasonProtocolError
		ends = append(ends, naiveEnd{reason, lost, n.position, len(n.payload), n.ended})
	}
	for ; ; stream = stream[naiveSize(stream):] {
		first, payload, err := naiveFrame(stream, n.inPieces)
		switch {
		case err == naiveBad:
			end(messages.ReasonProtocolError)
			return ends
		case err == naiveShort:
			if n.tooBig(first, payload) {
				end(messages.ReasonMessageTooBig)
				return ends
			}
			end(messages.ReasonClientGone)
			return ends
		}
		switch opcode := first & 15; {
		case opcode == 8:
			code := 0
			if len(payload) > 1 {
				code = int(binary.BigEndian.Uint16(payload))
			}
			if end(messages.ReasonClientClosed); code == 1001 || code == 1012 || code == 4000 {
				ends[len(ends)-1].lost = true
			} else if code != 1000 {
				ends[len(ends)-1].reason = messages.ReasonClientAborted
			}
			return ends
		case opcode > 8:
			continue
		case n.tooBig(first, payload):
			end(messages.ReasonMessageTooBig)
			return ends
		case opcode != 0:
			n.message, n.text = nil, opcode == 1
		}
		n.message = append(n.message, payload...)
		if n.inPieces = first&0x80 == 0; n.inPieces {
			continue
		}
		reason, maybe := n.judge()
		if maybe {
			end(messages.ReasonBeyondLimit)
			reason = n.accept()
		}
		if reason != "" {
			end(reason)
			return ends
		}
	}
}

// tooBig reports whether a message becomes too long with a frame, of which not all may
// have come.
func (n *naive) tooBig(first byte, payload []byte) bool {
	before := len(n.message)
	if first&15 != 0 {
		before = 0
	}
	return first&15 < 3 && before+len(payload) > replay.MaxPayload+replay.TrailerSize
}

// judge says what becomes of a message. maybe it is beyond the limit.
func (n *naive) judge() (reason messages.Reason, maybe bool) {
	m := n.message
	first, unit := uint64(FirstBytes), messages.UnitBytes
	if n.tunnel {
		first, unit = 64, messages.UnitMessages
	}
	units := uint64(1)
	if n.text || n.tunnel && len(m) > 0 && m[0] == '{' {
		if len(m) > replay.MaxPayload {
			return messages.ReasonMessageTooBig, false
		}
		said, err := messages.DecodeResume(m, unit)
		switch {
		case err == messages.ErrNotJSON:
			return messages.ReasonProtocolError, false
		case said.Kind == messages.KindAck && (err != nil || said.Position > n.sent):
			return messages.ReasonBadAck, false
		case said.Kind == messages.KindAck, said.Kind == messages.KindPing, said.Kind == messages.KindPong:
			return "", false
		case !n.tunnel && said.Kind == messages.KindEOF:
			n.ended = true
			return "", false
		case !n.tunnel:
			return messages.ReasonUnknownMessage, false
		case said.Kind != messages.KindOther:
			return "", false
		}
	} else {
		size := len(m) - replay.TrailerSize
		if size < 0 {
			return messages.ReasonProtocolError, false
		}
		if !n.tunnel {
			units = uint64(size)
		}
		if size > replay.MaxPayload {
			return messages.ReasonMessageTooBig, false
		}
		if binary.BigEndian.Uint64(m[size:]) != n.position+units {
			return messages.ReasonProtocolError, false
		}
	}
	switch end := n.position + units; {
	case units > 0 && (n.ended || n.stuck && end > first+n.passed):
		return messages.ReasonBeyondLimit, false
	case units > 0 && end > first:
		return "", true
	}
	return n.accept(), false
}

func (n *naive) accept() messages.Reason {
	size := len(n.message)
	if !n.text && (!n.tunnel || size == 0 || n.message[0] != '{') {
		size -= replay.TrailerSize
	}
	if n.payload = append(n.payload, n.message[:size]...); n.tunnel {
		if size == 0 && n.passed == n.position {
			n.passed++
		}
		n.position++
	} else {
		n.position += uint64(size)
	}
	return ""
}

// What may be wrong with a frame.
const (
	naiveBad   = naiveError("a frame that may not be")
	naiveShort = naiveError("the stream ends in a frame")
)

type naiveError string

func (e naiveError) Error() string { return string(e) }

// naiveHead returns the lengths of a frame's head and of its payload, 0 if the head is
// not whole.
func naiveHead(b []byte) (head int, size uint64) {
	if len(b) < 2 {
		return 0, 0
	}
	head, size = 2, uint64(b[1]&0x7f)
	more := map[uint64]int{126: 2, 127: 8}[size]
	masked := int(b[1]>>7) * 4
	if len(b) < head+more+masked {
		return 0, 0
	}
	for i := range more {
		if i == 0 {
			size = 0
		}
		size = size<<8 | uint64(b[2+i])
	}
	return head + more + masked, size
}

func naiveSize(b []byte) int {
	head, size := naiveHead(b)
	return head + int(size)
}

// naiveFrame reads a frame, or what has come of it.
func naiveFrame(b []byte, inPieces bool) (first byte, payload []byte, err error) {
	head, size := naiveHead(b)
	if head == 0 {
		return 0xff, nil, naiveShort
	}
	first = b[0]
	opcode, short := first&15, b[1]&0x7f
	switch {
	case first&0x70 != 0, b[1]&0x80 == 0,
		short == 126 && size < 126, short == 127 && (size < 1<<16 || size > 1<<63-1),
		opcode >= 8 && (opcode > 10 || first&0x80 == 0 || size > 125), opcode > 2 && opcode < 8,
		opcode == 0 && !inPieces, (opcode == 1 || opcode == 2) && inPieces:
		return first, nil, naiveBad
	}
	rest := b[head:]
	if uint64(len(rest)) > size {
		rest = rest[:size]
	}
	payload = bytes.Clone(rest)
	for i := range payload {
		payload[i] ^= b[head-4+i%4]
	}
	if uint64(len(rest)) < size {
		return first, payload, naiveShort
	}
	if opcode == 8 && !naiveClose(payload) {
		return first, payload, naiveBad
	}
	return first, payload, nil
}

func naiveClose(payload []byte) bool {
	if len(payload) < 2 {
		return len(payload) == 0
	}
	code := int(binary.BigEndian.Uint16(payload))
	return strings.ToValidUTF8(string(payload[2:]), "") == string(payload[2:]) &&
		(code >= 3000 && code < 5000 || code >= 1000 && code <= 1014 && (code < 1004 || code > 1006))
}
