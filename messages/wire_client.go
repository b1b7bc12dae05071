package messages

import (
	"encoding/binary"
	"errors"
	"math"
)

// The client's half of the tunnel's control protocol, for a client with
// flow=credit and http=bytes: such a one never gets an http_request.

// Opened is tcp_open, as the client reads it.
type Opened struct {
	ConnID     string
	RemoteAddr string // of the outside peer
	Protocol   string // [ProtocolHTTP]; "" for a raw connection
}

// EncodeClientClose returns the client's tcp_close. reason is one of [ClientEOF],
// [ClientReset] and [ClientRefused], or "" for the end of both directions.
func EncodeClientClose(connID, reason string) []byte {
	b := append([]byte(nil), `{"type":"tcp_close","connId":`...)
	b = appendString(b, connID)
	if reason != "" {
		b = append(b, `,"reason":`...)
		b = appendString(b, reason)
	}
	return append(b, '}')
}

// AppendDataHeader appends the header of a data message of the client.
func AppendDataHeader(b []byte, connID string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(connID)))
	return append(b, connID...)
}

// SplitData takes a data message apart. Both parts are of b. ok says whether
// its connId is there, and no longer than [MaxConnID].
func SplitData(b []byte) (connID, payload []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n > MaxConnID || int(n) > len(b)-4 {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

var (
	errNoCredit = errors.New("tcp_credit must give at least one byte")
	errWindow   = errors.New("tunnel_ready says a window that the protocol does not have")
)

// DecodeServer reads a control message of the proxy: a *[Ready], *[Opened],
// *[Close] or *[Credit], or nil for a type that is not known, which is ignored.
// b is overwritten, and the result keeps nothing of it. The error says what is
// wrong, without a byte of the message.
func DecodeServer(b []byte) (any, error) {
	var m serverControl
	r := jsonReader{b: b}
	if err := r.object(func(name []byte) error { return m.field(&r, name) }); err != nil {
		return nil, err
	}
	if r.next() != 0 || r.i < len(b) {
		return nil, errJSON
	}
	return m.message()
}

// serverControl is every control message that the proxy sends to a client.
type serverControl struct {
	Ready
	Opened
	kind   string
	reason string
	http   string
	port   int
	window int
	bytes  int
	wrong  serverFields // those that came with a value of the wrong type
}

// serverFields is a set of fields of the proxy's control messages.
type serverFields uint16

const (
	serverConnID serverFields = 1 << iota
	serverRemoteAddr
	serverProtocol
	serverReason
	serverBytes
	serverTunnelURL
	serverRawPort
	serverRawHost
	serverCredentials
	serverWindow
	serverHTTP
)

// message returns what was read, or what is wrong with a field that its kind has.
func (m *serverControl) message() (any, error) {
	var has serverFields
	switch m.kind {
	case "tunnel_ready":
		has = serverTunnelURL | serverRawPort | serverRawHost | serverCredentials | serverWindow | serverHTTP
	case "tcp_open":
		has = serverConnID | serverRemoteAddr | serverProtocol
	case "tcp_close":
		has = serverConnID | serverReason
	case "tcp_credit":
		has = serverConnID | serverBytes
	}
	if m.wrong&has != 0 {
		return nil, errWrongType
	}
	switch m.kind {
	case "tunnel_ready":
		if m.port < 0 || m.port > math.MaxUint16 {
			return nil, errWrongType
		}
		if m.window != 0 && m.window != Window {
			return nil, errWindow
		}
		m.RawPort, m.Credit, m.Bytes = uint16(m.port), m.window != 0, m.http == "bytes"
		return &m.Ready, nil
	case "tcp_open":
		return &m.Opened, nil
	case "tcp_close":
		return &Close{ConnID: m.ConnID, Reason: m.reason}, nil
	case "tcp_credit":
		if m.bytes <= 0 {
			return nil, errNoCredit
		}
		return &Credit{ConnID: m.ConnID, Bytes: m.bytes}, nil
	}
	return nil, nil
}

// field reads the value of a field; null is as if it were not there. Whether a
// wrong type matters is seen when the type of the message is known.
func (m *serverControl) field(r *jsonReader, name []byte) (err error) {
	if r.null() {
		return nil
	}
	var which serverFields
	switch string(name) {
	case "type":
		if m.kind, err = r.text(); err == errWrongType { // no type that is known
			return r.skip()
		}
		return err
	case "connId":
		which = serverConnID
		m.ConnID, err = r.text()
	case "remoteAddr":
		which = serverRemoteAddr
		m.RemoteAddr, err = r.text()
	case "protocol":
		which = serverProtocol
		m.Protocol, err = r.text()
	case "reason":
		which = serverReason
		m.reason, err = r.text()
	case "bytes":
		which = serverBytes
		m.bytes, err = r.integer()
	case "tunnelUrl":
		which = serverTunnelURL
		m.TunnelURL, err = r.text()
	case "rawPort":
		which = serverRawPort
		m.port, err = r.integer()
	case "rawHost":
		which = serverRawHost
		m.RawHost, err = r.text()
	case "credentials":
		which = serverCredentials
		m.Credentials, err = r.boolean()
	case "window":
		which = serverWindow
		m.window, err = r.integer()
	case "http":
		which = serverHTTP
		m.http, err = r.text()
	default:
		return r.skip()
	}
	if err == errWrongType { // then nothing of the value was read
		m.wrong |= which
		return r.skip()
	}
	return err
}

// boolean reads true or false. It stays in front of anything else.
func (r *jsonReader) boolean() (bool, error) {
	c := r.next()
	if c != 't' && c != 'f' {
		return false, errWrongType
	}
	return c == 't', r.skip()
}
