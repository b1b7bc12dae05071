package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/netpolicy"
)

// Access names a service behind Cloudflare Access and the service token that
// opens it. ID and Secret are secrets of the client's: they go into the
// headers of one handshake and nowhere else.
type Access struct {
	ID, Secret string
}

// accessPort is the port of wss:// (RFC 6455, section 3).
const accessPort = 443

// accessWriteBuffer is the size in bytes of the frames that go to a service
// behind Cloudflare Access. Each is masked in a buffer of its own.
const accessWriteBuffer = 32 << 10

var accessBuffers sync.Pool

// An accessFar is a service behind Cloudflare Access, reached by a WebSocket
// whose binary messages are bridged to the client's.
type accessFar struct {
	ws      *websocket.Conn
	message io.Reader      // owned by the reader: the message under way
	out     io.WriteCloser // owned by the writer: the message under way
	pinger  *time.Timer
}

// dialAccess opens the WebSocket at wss://target.Host/ through a judged
// connection. Redirects are not followed, and the certificate is verified.
func dialAccess(ctx context.Context, dial func(context.Context) (*net.TCPConn, error), target netpolicy.Target, access Access, ping time.Duration) (*accessFar, error) {
	dialer := websocket.Dialer{
		NetDialContext:  func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		ReadBufferSize:  1 << 10,
		WriteBufferSize: accessWriteBuffer,
		WriteBufferPool: &accessBuffers,
	}
	ws, answer, err := dialer.DialContext(ctx, "wss://"+target.Host+"/", http.Header{
		"CF-Access-Client-Id":     {access.ID},
		"CF-Access-Client-Secret": {access.Secret},
	})
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("the service behind Cloudflare Access answered the handshake with status %d: %w", answer.StatusCode, err)
		}
		return nil, err
	}
	f := &accessFar{ws: ws}
	// Cloudflare ends a WebSocket that carries nothing for a while.
	f.pinger = time.AfterFunc(ping, func() {
		if ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(ping)) == nil {
			f.pinger.Reset(ping)
		}
	})
	return f, nil
}

var errNotBinary = errors.New("the service behind Cloudflare Access sent a message that is not binary")

func (f *accessFar) read() (*buffer, int, error) {
	for {
		if f.message == nil {
			kind, message, err := f.ws.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
				return nil, 0, io.EOF
			}
			if err != nil {
				return nil, 0, fmt.Errorf("the WebSocket of the service behind Cloudflare Access failed: %w", unEOF(err))
			}
			if kind != websocket.BinaryMessage {
				return nil, 0, errNotBinary
			}
			f.message = message
		}
		buf := takeBuffer()
		n, err := f.message.Read(buf[serverHeader:])
		if err == io.EOF {
			f.message, err = nil, nil
		}
		if n > 0 {
			return buf, n, nil // an error will come again
		}
		giveBuffer(buf)
		if err != nil {
			return nil, 0, unEOF(err)
		}
	}
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
func (f *accessFar) broke() bool { return false }

func (f *accessFar) boundaries() bool { return true }

func (f *accessFar) write(p []byte, boundary bool) error {
	if f.out == nil && boundary {
		return f.ws.WriteMessage(websocket.BinaryMessage, p)
	}
	if f.out == nil {
		out, err := f.ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			return err
		}
		f.out = out
	}
	if _, err := f.out.Write(p); err != nil || !boundary {
		return err
	}
	err := f.out.Close()
	f.out = nil
	return err
}

func (f *accessFar) closeWrite() {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = f.ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
}

// drain reads below the WebSocket, which reads no more once a deadline has
// ended a read.
func (f *accessFar) drain() { _, _ = io.Copy(io.Discard, f.ws.NetConn()) }

func (f *accessFar) SetReadDeadline(t time.Time) error { return f.ws.SetReadDeadline(t) }

// SetWriteDeadline ends a write that is under way. It does not go through
// gorilla's method of that name, which would race with one.
func (f *accessFar) SetWriteDeadline(t time.Time) error { return f.ws.NetConn().SetWriteDeadline(t) }

func (f *accessFar) Close() error {
	f.pinger.Stop()
	return f.ws.Close()
}
