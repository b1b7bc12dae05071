package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// resumeProtocol is the subprotocol of sessions that outlive their WebSocket.
const resumeProtocol = "wsproxy.resume"

// MostPosition is the highest position that a session can have, and limit that can be
// granted.
const MostPosition = 1<<53 - 1

// A Session is the client of a relay that outlives its WebSocket. It belongs to one
// goroutine.
type Session struct {
	From, Server  string
	ReceiveBuffer int

	WS      *websocket.Conn // of the moment
	token   string
	attempt int
}

// Begin begins a relay to what a path says.
func (s *Session) Begin(ctx context.Context, pathAndQuery string) error {
	first, err := s.open(ctx, pathAndQuery, "wsproxy.v1", resumeProtocol)
	s.token = first.Resume
	return err
}

// TakeUp goes on with another WebSocket, from a position. The one before stays as it
// is.
func (s *Session) TakeUp(ctx context.Context, position uint64) error {
	s.attempt++
	_, err := s.open(ctx, fmt.Sprintf("/relay?bytes=%d&attempt=%d", position, s.attempt), resumeProtocol, "resume."+s.token)
	return err
}

// A firstMessage is session or resumed.
type firstMessage struct {
	Type   string `json:"type"`
	Resume string `json:"resume"`
}

func (s *Session) open(ctx context.Context, pathAndQuery string, offered ...string) (first firstMessage, err error) {
	ws, err := DialWS(ctx, s.From, s.Server, pathAndQuery, s.ReceiveBuffer, offered...)
	if err != nil {
		return first, err
	}
	_ = ws.SetReadDeadline(time.Now().Add(RequestLimit))
	_, text, err := ws.ReadMessage()
	if err == nil {
		err = json.Unmarshal(text, &first)
	}
	if err != nil {
		ws.Close()
		return first, err
	}
	_ = ws.SetReadDeadline(time.Time{})
	s.WS = ws
	return first, nil
}

// Ack acknowledges up to a position and grants up to another.
func (s *Session) Ack(position, limit uint64) error {
	return s.WS.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"ack","bytes":%d,"limit":%d}`, position, limit))
}

// Stuff sends until its target takes no more, and returns the position. Of what it has
// sent last at most 32 KiB wait in the server. The WebSocket is not to be read by
// gorilla after it.
func (s *Session) Stuff() (position uint64, err error) {
	const late = 1500 * time.Millisecond // an ack of as much is due at once, of less within a second
	payload := make([]byte, 32<<10)
	for acked := uint64(0); ; {
		position += uint64(len(payload))
		if err := s.WS.WriteMessage(websocket.BinaryMessage, WithPosition(payload, position)); err != nil {
			return position, err
		}
		_ = s.WS.SetReadDeadline(time.Now().Add(late))
		for acked < position {
			kind, text, err := s.WS.ReadMessage()
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return position, s.WS.SetReadDeadline(time.Time{})
			}
			if err != nil {
				return position, err
			}
			var ack struct {
				Bytes uint64 `json:"bytes"`
			}
			if kind == websocket.TextMessage && json.Unmarshal(text, &ack) == nil {
				acked = max(acked, ack.Bytes)
			}
		}
	}
}

// Guess asks for a session that there is not, and returns the WebSocket on which that
// is said.
func Guess(ctx context.Context, from, server string, i int) (*websocket.Conn, error) {
	path := [2]string{"/relay?bytes=0", "/tunnel?messages=0"}[i%2]
	return DialWS(ctx, from, server, path+"&attempt=1", 0, resumeProtocol, "resume."+GuessedToken(i))
}

// GuessedToken is of the form of those that the server makes.
func GuessedToken(i int) string {
	return fmt.Sprintf("%022d.%s", i, strings.Repeat("A", 43))
}

// WithPosition appends what a binary message ends with.
func WithPosition(payload []byte, position uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clip(payload), position)
}
