package forward

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// A HeaderConn is a connection to the HTTP listener that puts back into
// canonical case what [keepInNotModified] has hidden from net/http.
type HeaderConn struct {
	*net.TCPConn
	hidden atomic.Bool // the next header written has names to be put back

	// Where that header stands, which may be written in several pieces. They
	// belong to the goroutine that writes.
	before byte // the byte before; 0 at the beginning
	within bool // in a name that is to be put back
}

type headerConnKey struct{}

// WithConn is for [http.Server.ConnContext]: requests know their connection.
func WithConn(ctx context.Context, c *HeaderConn) context.Context {
	return context.WithValue(ctx, headerConnKey{}, c)
}

// keepInNotModified lets a 304 have Content-Length and Content-Type, which say
// what a 200 would have (RFC 9110, section 15.4.5). net/http takes them out by
// their canonical names, so they pass it in lower case.
func keepInNotModified(r *http.Request, header http.Header) {
	for _, name := range []string{"Content-Length", "Content-Type"} {
		values := header[name]
		if values == nil {
			continue
		}
		delete(header, name)
		header[strings.ToLower(name)] = values
		if c, ok := r.Context().Value(headerConnKey{}).(*HeaderConn); ok {
			c.hidden.Store(true)
		}
	}
}

// Write writes p, which is net/http's until it returns.
func (c *HeaderConn) Write(p []byte) (int, error) {
	if c.hidden.Load() {
		c.canonicalize(p)
	}
	return c.TCPConn.Write(p)
}

// canonicalize puts names that begin in lower case into canonical case, up to
// the header's end. All others are canonical.
func (c *HeaderConn) canonicalize(p []byte) {
	for i, b := range p {
		switch {
		case c.before == '\n' && b == '\r': // an empty line
			c.hidden.Store(false)
			c.before, c.within = 0, false
			return
		case b == ':' || b == '\n':
			c.within = false
		case 'a' <= b && b <= 'z' && (c.before == '\n' || c.within && c.before == '-'):
			c.within = true
			p[i] -= 'a' - 'A'
		}
		c.before = b
	}
}
