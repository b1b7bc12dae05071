package outside

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

// An Conn is a connection to the HTTP listener. It does what net/http
// can't: it puts back into canonical case what [KeepInNotModified] has hidden,
// and closes without a reset behind an answer to a request that has not come
// whole.
type Conn struct {
	*net.TCPConn
	Closed   func()          // called when it is closed, maybe more than once; may be nil
	Counted  func()          // called when a request's header is gone, or counts elsewhere; may be nil
	raw      syscall.RawConn // of TCPConn
	discards atomic.Bool     // Close reads on first
	hidden   atomic.Bool     // the next header written has names to be put back

	// Where that header stands, which may be written in several pieces. They
	// belong to the goroutine that writes.
	before byte // the byte before; 0 at the beginning
	within bool // in a name that is to be put back
}

// Init makes the zero Conn that of a TCP connection.
func (c *Conn) Init(conn *net.TCPConn) {
	c.TCPConn = conn
	c.raw, _ = conn.SyscallConn() // it fails for no connection that there is
}

type connKey struct{}

// WithConn is for [http.Server.ConnContext]: requests know their connection.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// DiscardOnClose has Close end this side's stream, read what still comes, to no
// purpose, for up to [messages.Linger], and close only then: closed at once the
// kernel would answer it with a reset, and the client might lose its answer.
func (c *Conn) DiscardOnClose() { c.discards.Store(true) }

// Cut resets the connection: what the client has got of an answer does not look
// whole. What the kernel holds for it is dropped.
func (c *Conn) Cut() {
	c.discards.Store(false)
	_ = c.TCPConn.SetLinger(0)
	c.TCPConn.Close()
}

// IsGone reports whether the client's kernel knows the connection no more. net/http
// doesn't see that while the beginning of another request waits to be read.
func (c *Conn) IsGone() bool {
	return kernel.WasReset(c.raw)
}

// lookAtClient is how often the client of an answer that pauses is looked at.
const lookAtClient = 5 * time.Second

// Watch returns what is closed when the client has gone, or ctx is done: looked at now
// and then, because nothing is written to find it out. end ends that.
func (c *Conn) Watch(ctx context.Context) (gone <-chan struct{}, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var next *time.Timer
	next = time.AfterFunc(math.MaxInt64, func() {
		if c.IsGone() {
			cancel()
		} else if ctx.Err() == nil {
			next.Reset(lookAtClient)
		}
	})
	next.Reset(lookAtClient)
	// Many answers pause for a moment: none keeps its client until the next look.
	return ctx.Done(), func() { cancel(); next.Stop() }
}

// Close closes the connection. It returns at once.
func (c *Conn) Close() error {
	if !c.discards.Swap(false) {
		return c.end()
	}
	go func() {
		defer c.end()
		_ = c.TCPConn.SetDeadline(time.Now().Add(messages.Linger))
		if c.TCPConn.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c.TCPConn)
		}
	}()
	return nil
}

func (c *Conn) end() error {
	err := c.TCPConn.Close()
	if c.Closed != nil {
		c.Closed()
	}
	return err
}

// Of returns the connection of a request, or nil if it has none that is known.
func Of(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// Cut ends what is written to a request's client by a reset.
func Cut(w http.ResponseWriter, r *http.Request) {
	if c := Of(r); c != nil {
		c.Cut()
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(wsock.LongAgo)
}

// DiscardOnClose is DiscardOnClose for the connection of a request.
func DiscardOnClose(r *http.Request) {
	if c := Of(r); c != nil {
		c.DiscardOnClose()
	}
}

// Counted says that the header of a request is gone, or counts elsewhere.
func Counted(r *http.Request) {
	if c := Of(r); c != nil && c.Counted != nil {
		c.Counted()
	}
}

// KeepInNotModified lets a 304 have Content-Length and Content-Type, which say
// what a 200 would have (RFC 9110, section 15.4.5). net/http takes them out by
// their canonical names, so they pass it in lower case.
func KeepInNotModified(r *http.Request, header http.Header) {
	for _, name := range []string{"Content-Length", "Content-Type"} {
		values := header[name]
		if values == nil {
			continue
		}
		delete(header, name)
		header[strings.ToLower(name)] = values
		if c := Of(r); c != nil {
			c.hidden.Store(true)
		}
	}
}

// Read reads what comes.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := kernel.Receive(c.raw, p)
	return n, kernel.Failed(c.TCPConn, "read", err)
}

// Write writes p, which is net/http's until it returns.
func (c *Conn) Write(p []byte) (int, error) {
	if c.hidden.Load() {
		c.canonicalize(p)
	}
	n, err := kernel.Send(c.raw, p)
	return n, kernel.Failed(c.TCPConn, "write", err)
}

// canonicalize puts names that begin in lower case into canonical case, up to
// the header's end. All others are canonical.
func (c *Conn) canonicalize(p []byte) {
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
