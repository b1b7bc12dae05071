package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// The tunnel's control protocol. Control messages are JSON objects with a
// type:
//
//	proxy  -> client  tunnel_ready   first, once
//	proxy  -> client  http_request   answered by http_response with the same id
//	proxy  -> client  tcp_open       a raw connection has come in
//	both directions   tcp_close      no more bytes will come for a connection
//	both directions   tcp_credit     so many more bytes may be sent (flow=credit)
//	client -> proxy   http_response
//
// The bytes of raw connections travel in binary messages, both ways:
//
//	4 bytes   big-endian length of connId
//	n bytes   connId
//	rest      payload
//
// A binary message that begins with "{" is JSON: no length begins with it.
const (
	// IDBytes is how many random bytes an id of a request or a connection has;
	// it is written in hex, so twice as long.
	IDBytes = 6
	// SubdomainBytes is the same for a subdomain, which is all that guards a
	// tunnel from strangers.
	SubdomainBytes = 8
	// MaxConnID is the longest connId, in bytes, that is read, and answered if
	// it is not known. The proxy's own have 12.
	MaxConnID = 1 << 10
	// DataHeader is how long the header of a data frame of the proxy is.
	DataHeader = 4 + 2*IDBytes
	// Window is how many payload bytes may be on their way for one connection
	// and direction under flow=credit: fixed by the protocol.
	Window = 256 << 10
	// ProtocolHTTP is what tcp_open says of a connection over which the proxy
	// speaks HTTP/1.1 by itself: fixed by the protocol.
	ProtocolHTTP = "http/1.1"
	// MaxWindow is up to how many bytes a receiver may widen that by giving more
	// credit than it has passed on: fixed by the protocol.
	MaxWindow = 8 << 20
)

// Ready is tunnel_ready.
type Ready struct {
	TunnelURL   string
	RawPort     uint16 // 0 = no port was free, or none was wanted
	RawHost     string // of the raw port
	Credentials bool   // whether cookies and Authorization pass
	Credit      bool   // whether the tunnel has flow=credit
	Bytes       bool   // whether HTTP travels as bytes (http=bytes)
}

// Request is http_request.
type Request struct {
	ID      string
	Method  string
	Path    string  // with the query, untouched
	Headers []Field // no name twice
	// Body travels as plain text if it is valid UTF-8, and in base64 only if it
	// is not: the known client ignores bodyEncoding on requests.
	Body []byte
}

// EncodeReady returns tunnel_ready.
func EncodeReady(r Ready) []byte {
	b := append([]byte(nil), `{"type":"tunnel_ready","tunnelUrl":`...)
	b = appendString(b, r.TunnelURL)
	b = append(b, `,"rawPort":`...)
	b = strconv.AppendUint(b, uint64(r.RawPort), 10)
	b = append(b, `,"rawHost":`...)
	b = appendString(b, r.RawHost)
	b = append(b, `,"credentials":`...)
	b = strconv.AppendBool(b, r.Credentials)
	if r.Credit {
		b = append(b, `,"window":`...)
		b = strconv.AppendInt(b, Window, 10)
	}
	if r.Bytes {
		b = append(b, `,"http":"bytes"`...)
	}
	return append(b, '}')
}

// Size returns how many bytes EncodeRequest returns, within what net/http lets
// an outside client put into path and headers: of a body each byte may become
// six. It goes over the body once.
func (r Request) Size() int {
	size := 128 + len(r.Path)
	if utf8.Valid(r.Body) {
		size += escapedLen(r.Body)
	} else {
		size += base64.StdEncoding.EncodedLen(len(r.Body))
	}
	for _, f := range r.Headers {
		size += len(f.Name) + len(f.Value) + 8
	}
	return size
}

// EncodeRequest returns http_request.
func EncodeRequest(r Request) []byte {
	text := utf8.Valid(r.Body)
	b := append(make([]byte, 0, r.Size()), `{"type":"http_request","id":`...)
	b = appendString(b, r.ID)
	b = append(b, `,"method":`...)
	b = appendString(b, r.Method)
	b = append(b, `,"path":`...)
	b = appendString(b, r.Path)
	b = append(b, `,"headers":{`...)
	for i, f := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, f.Name)
		b = append(b, ':')
		b = appendString(b, f.Value)
	}
	b = append(b, `},"body":`...)
	if text {
		b = appendString(b, unsafe.String(unsafe.SliceData(r.Body), len(r.Body)))
		return append(b, '}')
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, r.Body)
	return append(b, `","bodyEncoding":"base64"}`...)
}

// EncodeOpen returns tcp_open. protocol is what the proxy speaks over the
// connection by itself; "" for the bytes of an outside peer.
func EncodeOpen(connID, remoteAddr, protocol string) []byte {
	b := append([]byte(nil), `{"type":"tcp_open","connId":`...)
	b = appendString(b, connID)
	b = append(b, `,"remoteAddr":`...)
	b = appendString(b, remoteAddr)
	if protocol != "" {
		b = append(b, `,"protocol":`...)
		b = appendString(b, protocol)
	}
	return append(b, '}')
}

// EncodeClose returns tcp_close.
func EncodeClose(connID string, reason CloseReason) []byte {
	b := append([]byte(nil), `{"type":"tcp_close","connId":`...)
	b = appendString(b, connID)
	b = append(b, `,"reason":`...)
	return append(appendString(b, string(reason.wire())), '}')
}

// EncodeCredit returns tcp_credit.
func EncodeCredit(connID string, n int) []byte {
	b := append([]byte(nil), `{"type":"tcp_credit","connId":`...)
	b = appendString(b, connID)
	b = append(b, `,"bytes":`...)
	return append(strconv.AppendInt(b, int64(n), 10), '}')
}

// PutDataHeader writes the header of a data frame of the proxy into b, which
// has room for DataHeader bytes.
func PutDataHeader(b []byte, connID string) {
	binary.BigEndian.PutUint32(b, uint32(len(connID)))
	copy(b[4:], connID)
}

// Response is http_response. Body is as it travelled: see BodyEncoding.
type Response struct {
	ID           string
	Status       int
	Headers      []Field
	Body         []byte // the receiver's
	BodyEncoding string // "", or "base64"
}

// A Field is a header field. A name with several values is several fields.
type Field struct{ Name, Value string }

// Close is tcp_close from the client. Reason is as the client wrote it: see
// [ClientEOF] and those beside it.
type Close struct{ ConnID, Reason string }

// Credit is tcp_credit from the client.
type Credit struct {
	ConnID string
	Bytes  int
}

// control is every control message that a client sends.
type control struct {
	Response
	kind   string
	connID string
	reason string
	bytes  int
	wrong  fields // those that came with a value of the wrong type
}

// fields is a set of fields of control messages.
type fields uint8

const (
	fieldID fields = 1 << iota
	fieldConnID
	fieldStatus
	fieldBytes
	fieldBody
	fieldBodyEncoding
	fieldHeaders
	fieldReason
)

// fieldsOf returns the fields that a type of control messages has. Only these
// can be of the wrong type: others are ignored, whatever they are.
func fieldsOf(kind string) fields {
	switch kind {
	case "http_response":
		return fieldID | fieldStatus | fieldHeaders | fieldBody | fieldBodyEncoding
	case "tcp_close":
		return fieldConnID | fieldReason
	case "tcp_credit":
		return fieldConnID | fieldBytes
	}
	return 0
}

// DecodeControl reads a control message of a client: a *[Response], *[Close]
// or *[Credit], or nil for a type that is not known, which is ignored. b is
// the result's from then on. The error says what is wrong, without a byte of
// the message.
func DecodeControl(b []byte) (any, error) {
	var m control
	r := jsonReader{b: b}
	if err := r.object(func(name []byte) error { return m.field(&r, name) }); err != nil {
		return nil, err
	}
	if r.next() != 0 || r.i < len(b) {
		return nil, errJSON
	}
	if m.wrong&fieldsOf(m.kind) != 0 {
		return nil, errWrongType
	}
	switch m.kind {
	case "http_response":
		return &m.Response, nil
	case "tcp_close":
		return &Close{ConnID: m.connID, Reason: m.reason}, nil
	case "tcp_credit":
		if m.bytes <= 0 {
			return nil, errors.New("tcp_credit must give at least one byte")
		}
		return &Credit{ConnID: m.connID, Bytes: m.bytes}, nil
	}
	return nil, nil
}

// PeekControl returns the id of the request or connection that a client's
// control message is about, as far as b tells, which may be no more than its
// beginning; whole says whether it is all of it. Without a type that is known,
// or without an id, the id is empty. b stays as it is.
func PeekControl(b []byte) (id string, whole bool) {
	var m control
	r := jsonReader{b: bytes.Clone(b)} // it overwrites what it reads
	err := r.object(func(name []byte) error {
		switch string(name) {
		case "type", "id", "connId":
			return m.field(&r, name)
		}
		return r.skip()
	})
	whole = err == nil && r.next() == 0 && r.i == len(b)
	switch m.kind {
	case "http_response":
		return m.ID, whole
	case "tcp_close", "tcp_credit":
		return m.connID, whole
	}
	return "", whole
}

// field reads the value of a field; null is as if it were not there. Whether a
// wrong type matters is seen when the type of the message is known, which may
// be its last field.
func (m *control) field(r *jsonReader, name []byte) (err error) {
	if r.null() {
		return nil
	}
	var which fields
	switch string(name) {
	case "type":
		m.kind, err = r.text()
		return err
	case "id":
		which = fieldID
		m.ID, err = r.text()
	case "connId":
		which = fieldConnID
		m.connID, err = r.text()
	case "reason":
		which = fieldReason
		m.reason, err = r.text()
	case "status":
		which = fieldStatus
		m.Status, err = r.integer()
	case "bytes":
		which = fieldBytes
		m.bytes, err = r.integer()
	case "body":
		which = fieldBody
		m.Body, err = r.str()
	case "bodyEncoding":
		which = fieldBodyEncoding
		m.BodyEncoding, err = r.text()
	case "headers":
		which = fieldHeaders
		if m.Headers = m.Headers[:0]; m.Headers == nil { // a second one takes no room of its own
			m.Headers = make([]Field, 0, 8)
		}
		err = r.object(func(name []byte) error { return m.header(r, name) })
	default:
		return r.skip()
	}
	if err == errWrongType { // then nothing of the value was read
		m.wrong |= which
		return r.skip()
	}
	return err
}

func (r *jsonReader) text() (string, error) {
	s, err := r.str()
	return string(s), err
}

// maxFields is how many header fields of a response are kept: one more than an
// answer may have, by which it is known to have too many. What comes after them
// is read and takes no memory.
const maxFields = MaxAnswerFields + 1

// header reads the value of a header: a string, or an array of strings. One of
// another type is dropped.
func (m *control) header(r *jsonReader, rawName []byte) error {
	if r.null() {
		return nil
	}
	before, wrong := len(m.Headers), false
	name := ""
	if before < maxFields {
		name = string(rawName)
	}
	one := func() error {
		value, err := r.str()
		if err == errWrongType {
			wrong = true
			return r.skip()
		}
		if len(m.Headers) < maxFields {
			m.Headers = append(m.Headers, Field{name, string(value)})
		}
		return err
	}
	var err error
	if r.next() == '[' {
		err = r.array(one)
	} else {
		err = one()
	}
	if wrong {
		m.Headers = m.Headers[:before]
	}
	return err
}
