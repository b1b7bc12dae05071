package rawtcp

import (
	"context"
	"io"
	"net"
	"sync"

	"wsproxy/command/expose/stall"
)

// bufferSize is what one read takes, each way of a connection: as much as a message
// of a tunnel holds.
const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A Stream is a raw connection of a tunnel.
type Stream interface {
	net.Conn
	// CloseWrite ends the sending side alone.
	CloseWrite() error
	// Reset ends it so that the other side knows that something is missing.
	Reset() error
	// Refuse says that there is no service.
	Refuse() error
}

// A Forwarder joins connections to a service. Its fields don't change once it serves.
type Forwarder struct {
	// Dial opens a connection to the service; its errors are sentences.
	Dial func(ctx context.Context) (net.Conn, error)
	// Header is the version of the PROXY protocol in front, 0 for none.
	Header Version
	// Passed counts bytes as they pass; it may be nil.
	Passed func(in, out int)
}

// A Result says how a connection was.
type Result struct {
	In, Out int64 // bytes from outside, and to there
	Cut     bool  // one side was reset
	Err     error // why there was none with the service; a sentence
}

// A pair is a connection with its service.
type pair struct {
	stream  Stream
	service net.Conn
	passed  func(in, out int)
	cutOnce sync.Once
	cut     bool // under cutOnce
}

// Serve joins the stream to the service, and returns when both have ended. The end of
// ctx cuts it.
func (f *Forwarder) Serve(ctx context.Context, stream Stream) (r Result) {
	service, err := f.Dial(ctx)
	if err != nil {
		_ = stream.Refuse()
		return Result{Err: err}
	}
	p := &pair{stream: stream, service: service, passed: f.Passed}
	stop := context.AfterFunc(ctx, p.abort)
	defer stop()
	if f.Header != 0 {
		if _, err := service.Write(f.Header.Append(nil, stream.RemoteAddr(), service.RemoteAddr())); err != nil {
			p.abort()
		}
	}
	var out sync.WaitGroup
	out.Go(func() { r.Out = p.pass(stream, service, stream.Write, func(n int) { p.count(0, n) }) })
	guard := &stall.Guard{Abort: p.abort, Broken: func() bool {
		_, err := stream.Write(nil) // says what a reset has left
		return err != nil
	}}
	write := func(b []byte) (int, error) { return guard.Write(service.Write, b) }
	r.In = p.pass(service, stream, write, func(n int) { p.count(n, 0) })
	out.Wait()
	p.cutOnce.Do(func() {}) // nobody cuts any more
	r.Cut = p.cut
	_ = service.Close()
	_ = stream.Close()
	return r
}

func (p *pair) count(in, out int) {
	if p.passed != nil {
		p.passed(in, out)
	}
}

// pass copies one direction to its end, and ends the other side's with it.
func (p *pair) pass(to, from net.Conn, write func([]byte) (int, error), count func(int)) (passed int64) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if _, failed := write(buf[:n]); failed != nil {
				p.abort()
				return passed
			}
			passed += int64(n)
			count(n)
		}
		if err == io.EOF {
			if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				p.abort()
			}
			return passed
		}
		if err != nil {
			p.abort()
			return passed
		}
	}
}

// abort resets both sides.
func (p *pair) abort() {
	p.cutOnce.Do(func() {
		p.cut = true
		_ = p.stream.Reset()
		if tcp, ok := p.service.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = p.service.Close()
	})
}
