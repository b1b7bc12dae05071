package messages

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

// What both ends of a session say about its WebSockets (the contract's section
// 9), beside what the session carries. All of it is JSON:
//
//	proxy  -> client  session   first on the first WebSocket: the token
//	proxy  -> client  resumed   first on each later one: a position, a limit
//	both directions   ack       passed on up to here, may be sent up to there
//	both directions   ping      answered by pong
//	both directions   eof       on a relay: no more bytes will come
//
// A position counts payload bytes on a relay and messages in a tunnel, and
// UnitBytes or UnitMessages is the name of its field.
const (
	UnitBytes    = "bytes"
	UnitMessages = "messages"

	// MaxPosition is the highest position and limit: what a JavaScript number
	// counts up to without a gap. Fixed by the protocol.
	MaxPosition = 1<<53 - 1
	// MaxResumeToken is how many characters the token of a session may have:
	// fixed by the protocol.
	MaxResumeToken = 200

	// PingText, PongText and EOFText are these messages, whole.
	PingText = `{"type":"ping"}`
	PongText = `{"type":"pong"}`
	EOFText  = `{"type":"eof"}`
)

var (
	// ErrNotJSON is of a message that is not UTF-8 or not JSON, which a front
	// proxy can make of a good one when it reloads: the WebSocket counts as
	// lost, and the message as if it had not come.
	ErrNotJSON = errors.New("a message is not JSON in UTF-8")
	// ErrBadAck is of an ack, or a session or resumed, whose fields are missing
	// or are not what the protocol says.
	ErrBadAck = errors.New("an ack has no position and limit that can be read")
)

// A ResumeKind is a type of the messages of section 9.
type ResumeKind uint8

// KindOther is JSON that is none of these: of another type, or no object.
const (
	KindOther ResumeKind = iota
	KindAck
	KindPing
	KindPong
	KindEOF
	KindSession
	KindResumed
)

// A ResumeMessage is one message of section 9. Fields that its kind doesn't
// have are zero.
type ResumeMessage struct {
	Kind     ResumeKind
	Position uint64 // of an ack: passed on; of resumed: received
	Limit    uint64 // of ack, session, resumed
	Timeout  uint64 // of session, in seconds
	Token    string // of session
}

// AppendSession appends session. timeout is in seconds.
func AppendSession(b []byte, token string, timeout int, limit uint64) []byte {
	b = append(b, `{"type":"session","resume":`...)
	b = appendString(b, token)
	b = append(b, `,"timeout":`...)
	b = strconv.AppendInt(b, int64(timeout), 10)
	b = append(b, `,"limit":`...)
	b = strconv.AppendUint(b, limit, 10)
	return append(b, '}')
}

// AppendResumed appends resumed. position is what was received; unit is
// UnitBytes or UnitMessages.
func AppendResumed(b []byte, unit string, position, limit uint64) []byte {
	return appendPosition(append(b, `{"type":"resumed","`...), unit, position, limit)
}

// AppendAck appends ack. position is what was passed on; unit is UnitBytes or
// UnitMessages.
func AppendAck(b []byte, unit string, position, limit uint64) []byte {
	return appendPosition(append(b, ackStart...), unit, position, limit)
}

func appendPosition(b []byte, unit string, position, limit uint64) []byte {
	b = append(b, unit...)
	b = append(b, `":`...)
	b = strconv.AppendUint(b, position, 10)
	b = append(b, limitName...)
	b = strconv.AppendUint(b, limit, 10)
	return append(b, '}')
}

// What an ack looks like that was written without white space and in the order
// of the protocol's text.
const (
	ackStart  = `{"type":"ack","`
	limitName = `,"limit":`
)

// DecodeResume reads a JSON message of a session, which may be of another
// protocol: then its kind is KindOther. unit is UnitBytes or UnitMessages. b
// stays as it is.
//
// The error is ErrNotJSON, or ErrBadAck; with the latter the kind is told
// nevertheless. Unknown fields are ignored, of a field that is there twice the
// last one counts, and a number is digits alone.
func DecodeResume(b []byte, unit string) (ResumeMessage, error) {
	if m, ok := canonical(b, unit); ok {
		return m, nil
	}
	return decodeResume(b, unit)
}

// canonical reads the messages that a session carries all the time, as any
// JSON library writes them.
func canonical(b []byte, unit string) (m ResumeMessage, ok bool) {
	switch string(b) {
	case PingText:
		return ResumeMessage{Kind: KindPing}, true
	case PongText:
		return ResumeMessage{Kind: KindPong}, true
	case EOFText:
		return ResumeMessage{Kind: KindEOF}, true
	}
	if b, ok = cut(b, ackStart); !ok {
		return m, false
	}
	if b, ok = cut(b, unit); !ok {
		return m, false
	}
	if b, ok = cut(b, `":`); !ok {
		return m, false
	}
	position, n := digits(b)
	if b, ok = cut(b[n:], limitName); !ok || n == 0 {
		return m, false
	}
	limit, n := digits(b)
	if n == 0 || string(b[n:]) != "}" {
		return m, false
	}
	return ResumeMessage{Kind: KindAck, Position: position, Limit: limit}, true
}

func cut(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

// digits reads a number of JSON that begins b and is a position. n is how many
// bytes it has, 0 if there is none.
func digits(b []byte) (number uint64, n int) {
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		if n == len("9007199254740991") {
			return 0, 0
		}
		number = number*10 + uint64(b[n]-'0')
		n++
	}
	if n > 1 && b[0] == '0' || number > MaxPosition {
		return 0, 0
	}
	return number, n
}

// smallResume is up to which length a message is read in a copy on the stack:
// session, with the longest token, is shorter.
const smallResume = 512

// resumeFields are those of any kind of message, as they came last. Which of
// them matter is known when the type has come, which may be last.
type resumeFields struct {
	kind           ResumeKind
	position       resumeNumber
	limit, timeout resumeNumber
	token          string
}

// A resumeNumber is valid if ok.
type resumeNumber struct {
	n  uint64
	ok bool
}

// decodeResume is DecodeResume for any text.
func decodeResume(b []byte, unit string) (ResumeMessage, error) {
	if !utf8.Valid(b) {
		return ResumeMessage{}, ErrNotJSON
	}
	var small [smallResume]byte
	r := jsonReader{b: append(small[:0], b...)} // it overwrites what it reads
	var f resumeFields
	var err error
	if r.next() == '{' {
		err = f.object(&r, unit)
	} else {
		err = r.skip()
	}
	if err != nil || r.next() != 0 || r.i < len(r.b) {
		return ResumeMessage{}, ErrNotJSON
	}
	return f.message()
}

// object reads an object, as [jsonReader.object] does: what goes to a function
// that the compiler doesn't know can't be on the stack.
func (f *resumeFields) object(r *jsonReader, unit string) error {
	r.i++
	if r.take('}') {
		return nil
	}
	for {
		name, err := r.name()
		if err != nil {
			return err
		}
		if err := f.field(r, name, unit); err != nil {
			return err
		}
		if r.take('}') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

func (f *resumeFields) field(r *jsonReader, name []byte, unit string) error {
	switch string(name) {
	case "type":
		f.kind = KindOther
		if r.next() != '"' {
			return r.skip()
		}
		kind, err := r.str()
		f.kind = resumeKind(kind)
		return err
	case unit:
		return f.position.read(r)
	case "limit":
		return f.limit.read(r)
	case "timeout":
		return f.timeout.read(r)
	case "resume":
		f.token = ""
		if r.next() != '"' {
			return r.skip()
		}
		token, err := r.str()
		if validResumeToken(token) {
			f.token = string(token)
		}
		return err
	}
	return r.skip()
}

func resumeKind(name []byte) ResumeKind {
	switch string(name) {
	case "ack":
		return KindAck
	case "ping":
		return KindPing
	case "pong":
		return KindPong
	case "eof":
		return KindEOF
	case "session":
		return KindSession
	case "resumed":
		return KindResumed
	}
	return KindOther
}

// read reads a value. It is no number if it is anything but the digits of one.
func (n *resumeNumber) read(r *jsonReader) error {
	*n = resumeNumber{}
	if c := r.next(); c < '0' || c > '9' {
		return r.skip()
	}
	text, err := r.number()
	if err != nil {
		return err
	}
	number, length := digits(text)
	if length > 0 && length == len(text) {
		*n = resumeNumber{number, true}
	}
	return nil
}

// validResumeToken says whether a token may go into a subprotocol as it is.
func validResumeToken(token []byte) bool {
	if len(token) == 0 || len(token) > MaxResumeToken {
		return false
	}
	return !bytes.ContainsFunc(token, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	})
}

// message returns what was read, with the fields that its kind has.
func (f *resumeFields) message() (ResumeMessage, error) {
	m, ok := ResumeMessage{Kind: f.kind}, true
	switch f.kind {
	case KindAck, KindResumed:
		ok = f.position.ok && f.limit.ok
		m.Position, m.Limit = f.position.n, f.limit.n
	case KindSession:
		ok = f.token != "" && f.timeout.ok && f.limit.ok
		m.Token, m.Timeout, m.Limit = f.token, f.timeout.n, f.limit.n
	}
	if !ok {
		return ResumeMessage{Kind: f.kind}, ErrBadAck
	}
	return m, nil
}
