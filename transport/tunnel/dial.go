package tunnel

import (
	"context"
	"net"
	"os"
	"syscall"

	"wsproxy/messages"
)

// Dial opens a stream whose outer end is in this process: the client sees a
// raw connection like any other, from peer. What is written to the connection
// goes to the client, and back. The same slots, budgets and credit hold for it.
// The error is [net.ErrClosed] before the Mux is prepared and once it closes, or
// the cause of ctx's end; ctx has no effect on the connection.
func (m *Mux) Dial(ctx context.Context, peer string) (*net.UnixConn, *Stream, error) {
	if !m.started.Load() {
		return nil, nil, net.ErrClosed
	}
	select {
	case m.accepts <- struct{}{}:
	case <-m.session.Closing().Done():
		return nil, nil, net.ErrClosed
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	inner, outer, err := socketPair()
	if err != nil {
		<-m.accepts
		return nil, nil, err
	}
	s := newStream(m, outer, peer)
	m.settings.Host.Send(m.handler, &messages.Accepted{Stream: s})
	return inner, s, nil
}

// socketPair returns two sockets that are connected with each other.
func socketPair() (a, b *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "inner")
		conn, fileErr := net.FileConn(file) // a duplicate
		file.Close()
		if fileErr != nil {
			err = fileErr
			continue
		}
		conns[i] = conn.(*net.UnixConn)
	}
	if err != nil {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}
