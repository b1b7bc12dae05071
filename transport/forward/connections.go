package forward

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/tunnel"
)

const (
	// keptIdle is for how long a connection waits for its next request: fixed by the
	// protocol, section 10.
	keptIdle = 60 * time.Second
	// keptMargin is how much sooner one is closed than its service says that it will:
	// a request that is on its way then would be lost. Fixed by the protocol.
	keptMargin = time.Second
	// maxKept is how many connections of a tunnel wait for a request at most. Browsers
	// open six to a host; a service may count what it holds.
	maxKept = 32
)

// Bytes is the dialect of a client that gets HTTP as bytes (http=bytes): beside how
// it is spoken to, the connections over which it gets requests. Each serves one at a
// time. Those that wait for the next are kept; any goroutine may take one.
type Bytes struct {
	tunnel.Dialect
	mux  *tunnel.Mux
	host string // what Host says in the place of the outside client's; "" for that

	mu   sync.Mutex
	kept []*connection // under mu: idle ones, the one that has waited least last
}

// NewBytes returns the dialect of the client of mux, which is spoken to like clients
// of dialect otherwise. host is what services are told in the Host field, or "".
func NewBytes(mux *tunnel.Mux, dialect tunnel.Dialect, host string) *Bytes {
	return &Bytes{Dialect: dialect, mux: mux, host: host}
}

// A connection is one over which HTTP/1.1 is spoken with a service.
type connection struct {
	*tunnel.Pipe
	served bool        // it has served a request before this one
	late   *time.Timer // while it is kept: its end
}

// open opens a connection for a request from peer.
func (b *Bytes) open(peer string) (*connection, error) {
	pipe, err := b.mux.OpenPipe(peer, messages.ProtocolHTTP, b.mux.HTTPTimeout())
	if err != nil {
		return nil, err
	}
	return &connection{Pipe: pipe}, nil
}

// take returns a connection that waited for a request, or nil.
func (b *Bytes) take() *connection {
	for {
		b.mu.Lock()
		if len(b.kept) == 0 {
			b.mu.Unlock()
			return nil
		}
		c := b.kept[len(b.kept)-1]
		b.kept = slices.Delete(b.kept, len(b.kept)-1, len(b.kept))
		b.mu.Unlock()
		c.late.Stop()
		if c.Use() {
			return c
		}
		c.Close(messages.CloseEOF)
	}
}

// keep keeps a connection for so long.
func (b *Bytes) keep(c *connection, life time.Duration) {
	c.served = true
	drop := func() { b.drop(c) }
	b.mu.Lock()
	kept := c.Idle(drop) // which waits until it is there to be dropped
	var longest *connection
	if kept {
		if c.late == nil {
			c.late = time.AfterFunc(life, drop)
		} else {
			c.late.Reset(life)
		}
		if b.kept = append(b.kept, c); len(b.kept) > maxKept {
			longest = b.kept[0]
		}
	}
	b.mu.Unlock()
	if !kept {
		c.Close(messages.CloseEOF)
	}
	if longest != nil {
		b.drop(longest)
	}
}

// drop closes a connection if it is kept.
func (b *Bytes) drop(c *connection) {
	b.mu.Lock()
	i := slices.Index(b.kept, c)
	if i >= 0 {
		b.kept = slices.Delete(b.kept, i, i+1)
	}
	b.mu.Unlock()
	if i >= 0 {
		c.late.Stop()
		c.Close(messages.CloseEOF)
	}
}

// keepFor returns for how long a connection may wait for its next request, by what
// the service's answer says; 0 if not at all.
func keepFor(header []messages.Field) time.Duration {
	life := keptIdle
	for _, f := range header {
		if f.Name != "Keep-Alive" {
			continue
		}
		for parameter := range strings.SplitSeq(f.Value, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if seconds, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 31); err == nil && strings.EqualFold(name, "timeout") {
				life = min(life, max(time.Duration(seconds)*time.Second-keptMargin, 0))
			}
		}
	}
	return life
}

// authenticates reports whether a request or its answer authenticate the connection
// (RFC 4559, and NTLM): it is its user's alone.
func authenticates(r *http.Request, answer []messages.Field) bool {
	ofConnection := func(value string) bool {
		scheme, _, _ := strings.Cut(value, " ")
		return strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate")
	}
	for _, f := range answer {
		if (f.Name == "Www-Authenticate" || f.Name == "Proxy-Authenticate") && ofConnection(f.Value) {
			return true
		}
	}
	return slices.ContainsFunc(r.Header["Authorization"], ofConnection)
}

// peerOf returns the address that tcp_open gives for a request: with the port of the
// outside connection if it is the source's own.
func peerOf(r *http.Request, source netip.Addr) string {
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && at.Addr().Unmap() == source {
		return net.JoinHostPort(source.String(), strconv.Itoa(int(at.Port())))
	}
	return net.JoinHostPort(source.String(), "0")
}
