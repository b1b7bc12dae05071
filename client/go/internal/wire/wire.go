package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"

	"wsproxy/messages"
)

// Opened is tcp_open, as the client reads it.
type Opened struct {
	ConnID     string `json:"connId"`
	RemoteAddr string `json:"remoteAddr"` // of the outside peer
	Protocol   string `json:"protocol"`   // [messages.ProtocolHTTP]; "" for a raw connection
}

// EncodeClose returns the client's tcp_close. reason is one of [messages.ClientEOF],
// [messages.ClientReset] and [messages.ClientRefused], or "" for the end of both
// directions.
func EncodeClose(connID, reason string) []byte {
	b, _ := json.Marshal(struct { // strings can always be written
		Type   string `json:"type"`
		ConnID string `json:"connId"`
		Reason string `json:"reason,omitempty"`
	}{"tcp_close", connID, reason})
	return b
}

// Expires is auth_expires: the server ends the session with its token, soon.
type Expires struct{}

// EncodeAuth returns auth, with a fresh token.
func EncodeAuth(token string) []byte {
	b, _ := json.Marshal(struct { // strings can always be written
		Type  string `json:"type"`
		Token string `json:"token"`
	}{"auth", token})
	return b
}

// AppendDataHeader appends the header of a data message of the client.
func AppendDataHeader(b []byte, connID string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(connID)))
	return append(b, connID...)
}

// SplitData takes a data message apart. Both parts are of b. ok says whether
// its connId is there, and no longer than [messages.MaxConnID].
func SplitData(b []byte) (connID, payload []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if n > messages.MaxConnID || int(n) > len(b)-4 {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// What is wrong with a control message of the proxy, without a byte of it: it may
// have been chosen by a stranger.
var (
	errJSON     = errors.New("a control message is not the JSON that its type asks for")
	errNoCredit = errors.New("tcp_credit must give at least one byte")
	errPort     = errors.New("tunnel_ready says a raw port that there can't be")
	errWindow   = errors.New("tunnel_ready says a window that the protocol does not have")
)

// DecodeServer reads a control message of the proxy: a *[messages.Ready], *[Opened],
// *[messages.Close], *[messages.Credit] or *[Expires], or nil for a type that is not known, which
// is ignored.
func DecodeServer(b []byte) (any, error) {
	if c := credit(b); c != nil {
		return c, nil
	}
	var kind struct {
		Type any `json:"type"`
	}
	if json.Unmarshal(b, &kind) != nil {
		return nil, errJSON
	}
	switch kind.Type {
	case "tunnel_ready":
		return decodeReady(b)
	case "tcp_open":
		return read(b, &Opened{})
	case "auth_expires":
		return &Expires{}, nil
	case "tcp_close":
		m := struct{ ConnID, Reason string }{}
		if json.Unmarshal(b, &m) != nil {
			return nil, errJSON
		}
		return &messages.Close{ConnID: m.ConnID, Reason: m.Reason}, nil
	case "tcp_credit":
		m := struct {
			ConnID string
			Bytes  int
		}{}
		if json.Unmarshal(b, &m) != nil {
			return nil, errJSON
		}
		if m.Bytes <= 0 {
			return nil, errNoCredit
		}
		return &messages.Credit{ConnID: m.ConnID, Bytes: m.Bytes}, nil
	}
	return nil, nil
}

// credit reads a tcp_credit as the server writes it, which is most of what it says while much
// is sent. It returns nil for whatever looks otherwise.
func credit(b []byte) *messages.Credit {
	rest, ok := bytes.CutPrefix(b, []byte(`{"type":"tcp_credit","connId":"`))
	if !ok {
		return nil
	}
	id, rest, ok := bytes.Cut(rest, []byte(`","bytes":`))
	n, closed := bytes.CutSuffix(rest, []byte("}"))
	if !ok || !closed || len(n) == 0 || len(n) > maxDigits || n[0] == '0' || !all(n, isDigit) || !all(id, isPlain) {
		return nil
	}
	count := 0
	for _, c := range n {
		count = 10*count + int(c-'0')
	}
	return &messages.Credit{ConnID: string(id), Bytes: count}
}

// maxDigits are those of numbers that fit in an int on every machine.
const maxDigits = 9

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isPlain reports whether a character stands for itself in JSON.
func isPlain(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' }

func all(b []byte, is func(byte) bool) bool {
	for _, c := range b {
		if !is(c) {
			return false
		}
	}
	return true
}

func read(b []byte, into any) (any, error) {
	if json.Unmarshal(b, into) != nil {
		return nil, errJSON
	}
	return into, nil
}

func decodeReady(b []byte) (any, error) {
	m := struct {
		TunnelURL   string
		RawPort     int
		RawHost     string
		Credentials bool
		Window      int
		HTTP        string
	}{}
	switch {
	case json.Unmarshal(b, &m) != nil:
		return nil, errJSON
	case m.RawPort < 0 || m.RawPort > math.MaxUint16:
		return nil, errPort
	case m.Window != 0 && m.Window != messages.Window:
		return nil, errWindow
	}
	return &messages.Ready{
		TunnelURL: m.TunnelURL, RawPort: uint16(m.RawPort), RawHost: m.RawHost,
		Credentials: m.Credentials, Credit: m.Window != 0, Bytes: m.HTTP == "bytes",
	}, nil
}
