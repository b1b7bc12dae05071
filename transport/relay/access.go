package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/head"
	"wsproxy/transport/wsock"
)

// Access names a service behind Cloudflare Access and the service token that
// opens it. ID and Secret are secrets of the client's: they go into the
// headers of one handshake and nowhere else.
type Access struct {
	ID, Secret string
}

// AccessPort is the port of wss:// (RFC 6455, section 3).
const AccessPort = 443

// accessWriteBuffer is the size in bytes of the frames that go to a service
// behind Cloudflare Access. Each is masked in a buffer of its own.
const accessWriteBuffer = 32 << 10

var accessBuffers sync.Pool

// accessRoots are who vouches for services: nil for whom the system trusts. A
// variable for tests.
var accessRoots *x509.CertPool

// An accessUpstream is a service behind Cloudflare Access, reached by a WebSocket
// whose binary messages are bridged to the client's.
type accessUpstream struct {
	ws      *websocket.Conn
	message io.Reader      // owned by the reader: the message under way
	out     io.WriteCloser // owned by the writer: the message under way
	pinger  *time.Timer
}

// dialAccess opens the WebSocket at wss://target.Host/ through a judged
// connection. Redirects are not followed, and the certificate is verified.
func dialAccess(ctx context.Context, dial func(context.Context) (*net.TCPConn, error), target netpolicy.Target, access Access, ping time.Duration) (*accessUpstream, error) {
	given := func() bool { return true }
	shaking := &handshake{}
	dialer := websocket.Dialer{
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			wsock.BoundSendBuffer(conn, wsock.SendBuffer)
			// The library looks at ctx up to the TLS handshake and no further.
			given = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(wsock.LongAgo) })
			secure := tls.Client(conn, &tls.Config{ServerName: target.Host, RootCAs: accessRoots})
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			shaking.Conn = secure
			return shaking, nil
		},
		ReadBufferSize:  1 << 10,
		WriteBufferSize: accessWriteBuffer,
		WriteBufferPool: &accessBuffers,
	}
	ws, answer, err := dialer.DialContext(ctx, "wss://"+target.Host+"/", http.Header{
		"CF-Access-Client-Id":     {access.ID},
		"CF-Access-Client-Secret": {access.Secret},
	})
	if !given() && err == nil {
		ws.Close()
		return nil, context.Cause(ctx)
	}
	if err == nil {
		if err = addsNothing(answer.Header); err != nil {
			ws.Close()
		}
	}
	if err != nil {
		if shaking.failed != nil {
			return nil, fmt.Errorf("the service behind Cloudflare Access: %w", shaking.failed)
		}
		if answer != nil {
			return nil, fmt.Errorf("the service behind Cloudflare Access answered the handshake with status %d: %w", answer.StatusCode, err)
		}
		return nil, err
	}
	shaking.over.Store(true)
	u := &accessUpstream{ws: ws}
	// Cloudflare ends a WebSocket that carries nothing for a while.
	u.pinger = time.AfterFunc(ping, func() {
		if ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(ping)) == nil {
			u.pinger.Reset(ping)
		}
	})
	return u, nil
}

// A handshake is the connection to a service as long as it has not answered the
// handshake. What it answers is counted before the library makes headers of it,
// which are many times as large.
type handshake struct {
	*tls.Conn
	counter head.Counter // the reader's
	failed  error        // the reader's; what the counter found
	over    atomic.Bool  // the library has read the head; what comes now is frames
}

func (h *handshake) Read(p []byte) (int, error) {
	if h.over.Load() {
		return h.Conn.Read(p)
	}
	if h.failed != nil { // again and again: who reads may overlook it once
		return 0, h.failed
	}
	n, err := h.Conn.Read(p)
	if h.failed = h.counter.Count(p[:n]); h.failed != nil {
		return 0, h.failed
	}
	return n, err
}

// addsNothing returns an error if a service has turned on what it was not
// offered (RFC 6455, section 4.1): nothing is, and the library would take
// compression all the same.
func addsNothing(answer http.Header) error {
	for _, name := range []string{"Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		if strings.TrimSpace(strings.Join(answer[name], "")) != "" {
			return errUnoffered
		}
	}
	return nil
}

var errUnoffered = errors.New("it has chosen an extension or a subprotocol that it was not offered")

var errNotBinary = errors.New("the service behind Cloudflare Access sent a message that is not binary")

func (u *accessUpstream) read() (*wsock.Buffer, int, error) {
	for {
		if u.message == nil {
			kind, message, err := u.ws.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
				return nil, 0, io.EOF
			}
			if err != nil {
				return nil, 0, fmt.Errorf("the WebSocket of the service behind Cloudflare Access failed: %w", unEOF(err))
			}
			if kind != websocket.BinaryMessage {
				return nil, 0, errNotBinary
			}
			u.message = message
		}
		buf := wsock.TakeBuffer()
		n, err := u.message.Read(buf[wsock.ServerHeader:])
		if err == io.EOF {
			u.message, err = nil, nil
		}
		if n > 0 {
			return buf, n, nil // an error will come again
		}
		wsock.GiveBuffer(buf)
		if err != nil {
			return nil, 0, unEOF(err)
		}
	}
}

func (u *accessUpstream) readChunk() (wsock.Chunk, error) {
	buf, n, err := u.read()
	return wsock.InBuffer(buf, n), err
}

func (u *accessUpstream) readPair(bool) (first, second wsock.Chunk, err error) {
	first, err = u.readChunk()
	return first, wsock.Chunk{}, err
}

// unEOF keeps a broken WebSocket from looking like an ended one: only a close
// frame is an orderly end.
func unEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// broke is not needed: a WebSocket that broke never reads as one that ended.
func (u *accessUpstream) broke() bool { return false }

func (u *accessUpstream) write(p []byte, boundary bool) error {
	if u.out == nil && boundary {
		return u.ws.WriteMessage(websocket.BinaryMessage, p)
	}
	if u.out == nil {
		out, err := u.ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			return err
		}
		u.out = out
	}
	if _, err := u.out.Write(p); err != nil || !boundary {
		return err
	}
	err := u.out.Close()
	u.out = nil
	return err
}

// try passes nothing on: TLS has no write that doesn't wait.
func (u *accessUpstream) try([]byte, bool) (int, error) { return 0, nil }

// afresh does nothing: TLS does not tell whether a read waits.
func (u *accessUpstream) afresh() {}

func (u *accessUpstream) again(start func()) { start() }

func (u *accessUpstream) closeWrite() {
	final := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// A deadline that passes leaves TLS broken. Who closes the connection sets another.
	_ = u.ws.WriteControl(websocket.CloseMessage, final, time.Now().Add(messages.Linger))
}

func (u *accessUpstream) raw() (syscall.RawConn, error) {
	conn := u.ws.NetConn()
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	bare, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return bare.SyscallConn()
}

// drain reads below the WebSocket, which reads no more once a deadline has
// ended a read.
func (u *accessUpstream) drain() { _, _ = io.Copy(io.Discard, u.ws.NetConn()) }

func (u *accessUpstream) SetReadDeadline(t time.Time) error { return u.ws.SetReadDeadline(t) }

// SetWriteDeadline ends a write that is under way. It does not go through
// gorilla's method of that name, which would race with one.
func (u *accessUpstream) SetWriteDeadline(t time.Time) error {
	return u.ws.NetConn().SetWriteDeadline(t)
}

func (u *accessUpstream) Close() error {
	u.pinger.Stop()
	return u.ws.Close()
}

// abort needs no more than Close: a WebSocket ends in order by a close frame
// only.
func (u *accessUpstream) abort() { u.Close() }
