package inspect

import (
	"net/netip"
	"time"
)

// The kinds of sessions.
const (
	Relay  = "relay"
	Tunnel = "tunnel"
)

// Detached is the state of a session that waits for a WebSocket, whatever else it does.
const Detached = "detached"

// A Session is what is told of one. The names of its JSON are what scripts rely on
// (docs/operations.md).
type Session struct {
	// ID is what its log lines call it: `session` of a relay, `tunnel` of a tunnel, whose
	// subdomain it is. It has letters, digits, - and _ alone.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// User is who it is of; "" for anyone.
	User   string     `json:"user"`
	Source netip.Addr `json:"source"`
	// Target is where a relay leads, host and port; "" for a tunnel.
	Target string `json:"target,omitempty"`
	// State is one of the words of docs/operations.md.
	State string `json:"state"`
	// Since is when it has begun; DetachedSince since when it waits for a WebSocket, zero
	// if it has one.
	Since         time.Time `json:"since"`
	DetachedSince time.Time `json:"detached_since,omitzero"`
	// Age is how long it has lasted when the answer was made, in seconds.
	Age float64 `json:"age_seconds"`
	// Resumed is how often another WebSocket has taken it up.
	Resumed uint32 `json:"resumed"`
	// FromClient and ToClient are the bytes that it has moved: of a relay payload, of a
	// tunnel all messages.
	FromClient int64 `json:"bytes_from_client"`
	ToClient   int64 `json:"bytes_to_client"`
	// Tunnel is nil for a relay.
	Tunnel *Part `json:"tunnel,omitempty"`
}

// A Part is what only a tunnel has.
type Part struct {
	Subdomain string `json:"subdomain"`
	// Name is what its client has asked for, and the subdomain is made of; "" if it is made of none.
	Name string `json:"name,omitempty"`
	// Port is the raw port, 0 = none.
	Port uint16 `json:"raw_port"`
	// Connections are raw ones, Requests those of HTTP that are under way.
	Connections int `json:"connections"`
	Requests    int `json:"http_requests"`
	// Held is how many bytes it holds in memory.
	Held int64 `json:"held_bytes"`
}

// An Answer is what GET /debug/sessions and /debug/tunnels say.
type Answer struct {
	Time     time.Time `json:"time"` // of the server
	Version  string    `json:"version"`
	Draining bool      `json:"draining"`
	Sessions []Session `json:"sessions"` // by when they have begun
	// Unanswered are sessions that ended while they were asked, or were too busy.
	Unanswered int `json:"unanswered"`
	// LeftOut are those that were not asked because there are too many.
	LeftOut int `json:"left_out"`
}

// A Closed is what a close says: how many sessions of the id are ending.
type Closed struct {
	ID     string `json:"id"`
	Closed int    `json:"closed"`
}

// An Error is what any other answer of the admin endpoints says: a sentence.
type Error struct {
	Error string `json:"error"`
}

// IsID reports whether s has the form of a session's id: nothing else is ever looked up.
func IsID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// maxID is longer than any id, in bytes.
const maxID = 64
