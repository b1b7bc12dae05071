package display

import (
	"encoding/json"
	"strconv"
	"time"

	"wsproxy/command/screen"
)

// A request is a line of JSON about one, and its members' names are a promise.
// Durations are in milliseconds.
type request struct {
	Event    string    `json:"event"` // "request"; "open" when one begins that lasts
	Time     time.Time `json:"time"`
	Tunnel   string    `json:"tunnel,omitempty"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Status   int       `json:"status"` // 0 if there was no answer
	First    float64   `json:"first_byte_ms"`
	Duration float64   `json:"duration_ms"`
	In       int64     `json:"bytes_in"`
	Out      int64     `json:"bytes_out"`
	Remote   string    `json:"remote,omitempty"`
	Cut      bool      `json:"cut,omitempty"`
	Own      bool      `json:"own,omitempty"`
	Replayed bool      `json:"replayed,omitempty"`
	Hint     string    `json:"hint,omitempty"`
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// append appends what encoding/json makes of the line, without its allocations and in a
// third of its time: there is one for each request, on the way of the answer.
func (r *request) append(b []byte) []byte {
	b = appendString(append(b, `{"event":`...), r.Event)
	b = append(b, `,"time":"`...)
	b = append(r.Time.AppendFormat(b, time.RFC3339Nano), '"')
	b = appendText(b, `,"tunnel":`, r.Tunnel)
	b = appendString(append(b, `,"method":`...), r.Method)
	b = appendString(append(b, `,"path":`...), r.Path)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendFloat(append(b, `,"first_byte_ms":`...), r.First, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, `,"duration_ms":`...), r.Duration, 'f', -1, 64)
	b = strconv.AppendInt(append(b, `,"bytes_in":`...), r.In, 10)
	b = strconv.AppendInt(append(b, `,"bytes_out":`...), r.Out, 10)
	b = appendText(b, `,"remote":`, r.Remote)
	b = appendTrue(b, `,"cut":`, r.Cut)
	b = appendTrue(b, `,"own":`, r.Own)
	b = appendTrue(b, `,"replayed":`, r.Replayed)
	b = appendText(b, `,"hint":`, r.Hint)
	return append(b, '}')
}

// appendText appends a member that is left out when it is empty.
func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, name...), s)
}

// appendTrue appends a member that is left out when it is false.
func appendTrue(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(b, name...), "true"...)
}

// appendString appends a string as JSON that no terminal obeys.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&': // which encoding/json escapes
			quoted, _ := json.Marshal(s) // a string can always be written
			return append(b, screen.EscapeJSON(quoted)...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
