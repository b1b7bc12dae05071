package sshclient

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/page/sshclient/agent"
	"wsproxy/page/sshclient/knownhosts"
)

const (
	// answerTime bounds the wait for a server's side of the key exchange. It is long, because a
	// connection through a relay may be without a network meanwhile.
	answerTime = time.Minute
	// maxJumps is more hops than anybody has.
	maxJumps = 8
)

// wasmCiphers are those that are offered in a browser, best first. WebAssembly has no instructions
// for AES, which makes ChaCha20 several times as fast there.
var wasmCiphers = []string{
	ssh.CipherChaCha20Poly1305,
	ssh.CipherAES128GCM, ssh.CipherAES256GCM,
	ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// A Client is a connection to a server, logged in. Any goroutine may call its methods.
type Client struct {
	host   string
	conn   *watchedConn
	client *ssh.Client
	agent  bool    // it is forwarded
	outer  *Client // the jump host's, or nil

	mu     sync.Mutex
	reason *Error // why this side has closed, or nil
	ended  chan struct{}
	end    Ended

	away chan bool // to the keepalive, nil without one
}

// An Ended says how a connection has ended.
type Ended struct {
	Reason  Code
	Message string // a sentence
}

// Connect logs in over conn, which it owns from then on, also when it fails. Its errors are
// of type *[Error]. The context ends the login only.
func Connect(ctx context.Context, conn net.Conn, o Options, hooks Hooks) (*Client, error) {
	hops := 0
	for jump := o.Jump; jump != nil; jump = jump.Jump {
		if hops++; hops > maxJumps {
			conn.Close()
			return nil, failure(CodeFailed, nil, "There are more than %d jump hosts.", maxJumps)
		}
	}
	if o.Jump == nil {
		return connect(ctx, conn, o, hooks, nil)
	}
	outer, err := Connect(ctx, conn, *o.Jump, hooks)
	if err != nil {
		return nil, err
	}
	inner, err := outer.Dial(ctx, o.Host, o.Port)
	if err != nil {
		outer.Close()
		return nil, err
	}
	c, err := connect(ctx, inner, o, hooks, outer)
	if err != nil {
		outer.Close()
		return nil, err
	}
	go func() {
		<-c.ended
		outer.Close()
	}()
	return c, nil
}

// connect logs in to one host, over a connection from outer if that isn't nil.
func connect(ctx context.Context, conn net.Conn, o Options, hooks Hooks, outer *Client) (*Client, error) {
	if o.User == "" || o.Host == "" || o.Port < 1 || o.Port > 65535 {
		conn.Close()
		return nil, failure(CodeFailed, nil, "A login needs a user, a host and a port from 1 to 65535.")
	}
	// In known_hosts these make a pattern, a list or another line: what is remembered of one host would be of others, too.
	if strings.ContainsFunc(o.Host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("*?!,|@#[]", r) }) {
		conn.Close()
		return nil, failure(CodeFailed, nil, "%q is not the name or address of a host.", Printable(o.Host, maxReason))
	}
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := watch(conn, func() { hooks.Step(StepKeyExchange, o.Host) }, cancel)
	// Whatever ends the context ends what x/crypto waits for.
	stop := context.AfterFunc(ctx, func() { watched.Close() })
	answered := time.AfterFunc(answerTime, func() { watched.abort(errUnanswered) })
	defer answered.Stop()

	hooks.Step(StepVersion, o.Host)
	l := newLogin(ctx, caller, &o, hooks, watched)
	known := knownhosts.Parse(o.KnownHosts)
	verifier := &hostVerifier{ctx: ctx, o: &o, hooks: hooks, known: known, answered: answered}
	config := &ssh.ClientConfig{
		User:              o.User,
		HostKeyCallback:   verifier.verify,
		HostKeyAlgorithms: known.Algorithms(o.Host, o.Port),
		BannerCallback:    l.banner,
		AuthCallback:      l.next,
		ClientVersion:     "SSH-2.0-wsproxy",
	}
	if runtime.GOARCH == "wasm" {
		config.Ciphers = wasmCiphers
	}
	raw, channels, requests, err := ssh.NewClientConn(watched, o.address(), config)
	if err != nil {
		watched.Close()
		return nil, explainHandshake(o.Host, watched, l.explain(err))
	}
	if !stop() {
		// It has been called off, or lost, at the last moment.
		watched.Close()
		ssh.NewClient(raw, channels, requests).Close() // which takes what has come already
		return nil, explainHandshake(o.Host, watched, l.explain(ctx.Err()))
	}
	// From here on the end of the connection is told by Wait.
	c := &Client{host: o.Host, conn: watched, outer: outer, ended: make(chan struct{})}
	updates := make(chan *ssh.Request)
	c.client = ssh.NewClient(raw, channels, updates)
	go c.watchHostKeys(requests, updates, verifier.rotation(hooks))
	if o.AgentForward {
		c.agent = true
		agent.Serve(c.client, l.agentKeys(c.ended))
	}
	if o.KeepAlive > 0 {
		c.away = make(chan bool)
		go c.keepAlive(o.KeepAlive)
	}
	go c.wait()
	hooks.Step(StepReady, o.Host)
	return c, nil
}

// ServerVersion is what the server calls itself, such as "SSH-2.0-OpenSSH_9.2".
func (c *Client) ServerVersion() string {
	return Printable(string(c.client.ServerVersion()), maxReason)
}

// wait tells how the connection has ended, once it has.
func (c *Client) wait() {
	err := c.client.Wait()
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	if reason == nil && c.outer != nil {
		// The jump host's end is this one's, and comes first.
		select {
		case <-c.outer.ended:
			reason = failure(c.outer.end.Reason, nil, "%s", c.outer.end.Message)
		default:
		}
	}
	if reason == nil {
		reason = c.explainEnd(err)
	}
	c.end = Ended{Reason: reason.Code, Message: reason.Message}
	c.conn.Close()
	close(c.ended)
}

func (c *Client) explainEnd(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if reason, text, ok := parseDisconnect(err); ok {
		if reason == disconnectByApplication {
			return failure(CodeClosed, err, "%s has ended the connection: %s", c.host, orNothing(text))
		}
		return failure(CodeProtocol, err, "%s has ended the connection: %s", c.host, orNothing(text))
	}
	if cause := c.conn.lost(); cause != nil {
		return failure(CodeNetwork, err, "The connection to %s has ended%s.", c.host, because(cause))
	}
	return failure(CodeProtocol, err, "%s did not speak SSH as expected: %s", c.host, Printable(trimSSH(err), maxReason))
}

// Ended is closed when the connection has ended, by whomever. [Client.End] tells why.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// End says how the connection has ended. It waits for that.
func (c *Client) End() Ended {
	<-c.ended
	return c.end
}

// Close ends the connection with all that goes over it.
func (c *Client) Close() {
	c.closeFor(&Error{Code: CodeClosed, Message: "The connection was closed."})
}

// closeFor closes the connection and keeps the first reason.
func (c *Client) closeFor(reason *Error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.mu.Unlock()
	// Closing politely would wait for what is on its way, and for a network that may be gone.
	c.conn.Close()
}

// isEnding reports whether the connection has ended, or is about to.
func (c *Client) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != nil || c.conn.lost() != nil
}

// Ping returns the time that the server takes to answer.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	answered := make(chan error, 1)
	go func() {
		// Servers refuse what they don't know, which is an answer too.
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		answered <- err
	}()
	select {
	case err := <-answered:
		if err != nil {
			<-c.ended
			return 0, &Error{Code: c.end.Reason, Message: c.end.Message, Err: err}
		}
		return time.Since(start), nil
	case <-ctx.Done():
		return 0, failure(CodeCancelled, ctx.Err(), "The ping was called off.")
	}
}

// Dial opens a connection from the server to host and port. Name lookups are the server's.
func (c *Client) Dial(ctx context.Context, host string, port int) (*Stream, error) {
	if port < 1 || port > 65535 || host == "" {
		return nil, failure(CodeFailed, nil, "A connection needs a host and a port from 1 to 65535.")
	}
	return c.dial(ctx, host, port, net.JoinHostPort(host, strconv.Itoa(port)))
}
