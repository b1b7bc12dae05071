package forward

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// An HeaderConn is a connection to the HTTP listener that puts back into
// canonical case what [keepInNotModified] has hidden from net/http.
type HeaderConn struct {
	*net.TCPConn
	hidden atomic.Bool // the next header written has names to be put back
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
	if c.hidden.Load() && c.hidden.Swap(false) {
		head, _, _ := bytes.Cut(p, []byte("\r\n\r\n"))
		for _, name := range []string{"\r\nContent-Length:", "\r\nContent-Type:"} {
			if at := bytes.Index(head, []byte(strings.ToLower(name))); at >= 0 {
				copy(head[at:], name)
			}
		}
	}
	return c.TCPConn.Write(p)
}
