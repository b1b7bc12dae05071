package sshclient

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Stream is a connection that a server has opened, or a subsystem of it. It is a net.Conn
// without deadlines, and with half-close.
type Stream struct {
	ssh.Channel
	client *Client
	name   string
	once   sync.Once
	closed chan struct{}
}

// dial opens a direct-tcpip channel, RFC 4254, section 7.2.
func (c *Client) dial(ctx context.Context, host string, port int, name string) (*Stream, error) {
	payload := ssh.Marshal(&struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, uint32(port), "127.0.0.1", 0})
	return c.openStream(ctx, "direct-tcpip", payload, name)
}

func (c *Client) openStream(ctx context.Context, kind string, payload []byte, name string) (*Stream, error) {
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	done := make(chan opened, 1)
	go func() {
		channel, requests, err := c.client.OpenChannel(kind, payload)
		done <- opened{channel, requests, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				go ssh.DiscardRequests(o.requests)
				o.channel.Close()
			}
		}()
		return nil, failure(CodeCancelled, ctx.Err(), "The connection to %s was called off.", name)
	case o := <-done:
		if o.err != nil {
			return nil, c.explainOpen(o.err, name)
		}
		s := &Stream{Channel: o.channel, client: c, name: name, closed: make(chan struct{})}
		go func() { _, _ = io.Copy(io.Discard, o.channel.Stderr()) }()
		go func() {
			ssh.DiscardRequests(o.requests) // which ends when the channel is closed on both sides
			s.once.Do(func() { close(s.closed) })
		}()
		return s, nil
	}
}

func (c *Client) explainOpen(err error, name string) *Error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		<-c.ended
		return &Error{Code: c.end.Reason, Message: c.end.Message, Err: err}
	}
	said := Printable(refused.Message, maxReason)
	switch refused.Reason {
	case ssh.Prohibited:
		return failure(CodeNetwork, err, "%s does not allow a connection to %s: %s", c.host, name, orNothing(said))
	case ssh.ConnectionFailed:
		return failure(CodeNetwork, err, "%s can't reach %s: %s", c.host, name, orNothing(said))
	}
	return failure(CodeFailed, err, "%s does not open %s: %s", c.host, name, orNothing(said))
}

// Read returns io.EOF when the other side has sent all, and an *[Error] when the connection to the
// server has been lost.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Channel.Read(p)
	if err == io.EOF && s.client.isEnding() {
		<-s.client.ended
		err = &Error{Code: s.client.end.Reason, Message: s.client.end.Message, Err: io.ErrUnexpectedEOF}
	}
	return n, err
}

// Closed is closed when both sides have ended the stream.
func (s *Stream) Closed() <-chan struct{} { return s.closed }

// LocalAddr and RemoteAddr are names only.
func (s *Stream) LocalAddr() net.Addr  { return streamAddr("ssh") }
func (s *Stream) RemoteAddr() net.Addr { return streamAddr(s.name) }

type streamAddr string

func (streamAddr) Network() string  { return "ssh" }
func (a streamAddr) String() string { return string(a) }

var errNoDeadline = errors.New("a stream of an SSH connection has no deadlines")

// SetDeadline, SetReadDeadline and SetWriteDeadline fail: close the stream instead.
func (s *Stream) SetDeadline(time.Time) error      { return errNoDeadline }
func (s *Stream) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (s *Stream) SetWriteDeadline(time.Time) error { return errNoDeadline }

// OpenSubsystem starts a subsystem of the server, such as "sftp".
func (c *Client) OpenSubsystem(ctx context.Context, name string) (*Stream, error) {
	s, err := c.openStream(ctx, "session", nil, "a session")
	if err != nil {
		return nil, err
	}
	s.name = name
	ok, err := s.SendRequest("subsystem", true, ssh.Marshal(&struct{ Name string }{name}))
	if err == nil && ok {
		return s, nil
	}
	s.Close()
	if err != nil && c.isEnding() {
		<-c.ended
		return nil, &Error{Code: c.end.Reason, Message: c.end.Message, Err: err}
	}
	return nil, failure(CodeFailed, err, "%s has no %s.", c.host, name)
}
