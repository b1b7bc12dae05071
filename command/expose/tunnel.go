package expose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	wsproxy "wsproxy/client/go"
	"wsproxy/command/expose/display"
	"wsproxy/command/expose/rawtcp"
	"wsproxy/command/expose/tap"
	"wsproxy/command/expose/target"
)

const (
	// endTimeout is how long the server may take to end a tunnel in order.
	endTimeout = 3 * time.Second
	// resetTimeout is how long it may take then to hear that what is left was reset.
	// If it doesn't hear so it keeps the tunnel for a client that is no more.
	resetTimeout = 2 * time.Second
	// acceptPause is how long is waited after an accept that failed though the
	// tunnel lives, which nothing known makes.
	acceptPause = 100 * time.Millisecond
)

// A Request is what a tunnel is asked for with.
type Request struct {
	Name, HostHeader string
	Raw              bool // a raw port is wanted
	// What becomes of the WebSocket below it is told to these.
	OnDetached, OnRetry func(error)
	OnResumed           func(away time.Duration)
}

// A Tunnel is one that is there.
type Tunnel struct {
	URL     string
	RawAddr string // host and port of raw connections, "" without
	// Credentials says that the server passes Cookie and Authorization on.
	Credentials bool
	HTTP        net.Listener // its connections are of HTTP/1.1
	Raw         net.Listener // nil without a raw port
	Done        <-chan struct{}
	Err         func() error // why it is Done
	// Shutdown ends it in order. When ctx ends before, it returns, and resets what is
	// left: Done says when that is over.
	Shutdown func(ctx context.Context) error
	// Taken asks whether the address leads to another tunnel now that this one is
	// lost.
	Taken func(ctx context.Context) bool
}

// An Opener opens a tunnel.
type Opener func(ctx context.Context, r Request) (*Tunnel, error)

// A line is a target with its tunnel, which is opened anew whenever it ends.
type line struct {
	command *command
	target  target.Target
	name    string // in front of what is said, "" if there is one line alone

	tap *tap.Tap          // of all but TCP
	raw *rawtcp.Forwarder // of TCP
	// address is what was written last, so that it is not written again.
	address display.Address
	serving sync.WaitGroup
}

// run keeps the tunnel open until ctx ends, and then returns nil, or until it makes no
// sense any more. cut ends connections that go on after that.
func (l *line) run(ctx, cut context.Context) *EndError {
	defer l.serving.Wait()
	tries := &retry{say: l.command.shown.News, name: l.name}
	up := false
	for {
		tunnel, err := l.command.open(ctx, l.request())
		if err == nil {
			up = true
			tries.opened(l.address != (display.Address{}) && l.addressOf(tunnel) != l.address)
			began := time.Now()
			var end *EndError
			if end, err = l.serve(ctx, cut, tunnel); end != nil {
				return end
			}
			tries.lived(time.Since(began))
			if l.target.Name != "" && errors.Is(err, wsproxy.ErrSessionLost) && tunnel.Taken(ctx) {
				err = wsproxy.ErrReplaced
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		v := judge(err, l.command.freshToken, up)
		if v.end != nil {
			return v.end
		}
		if !tries.failed(ctx, v) {
			return nil
		}
	}
}

func (l *line) request() Request {
	say := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if l.name != "" {
			text = l.name + ": " + text
		}
		l.command.shown.News(text)
	}
	retried := "" // what was said since the loss: the callbacks come one behind the other
	return Request{
		Name: l.target.Name, HostHeader: l.command.hostHeader(l.target), Raw: l.target.Kind == target.TCP,
		OnDetached: func(err error) {
			retried = ""
			say("the connection to the server was lost (%v); taking it up again", err)
		},
		OnRetry: func(err error) {
			if now := err.Error(); now != retried {
				retried = now
				say("it can't be taken up yet: %v", err)
			}
		},
		OnResumed: func(away time.Duration) {
			say("the connection is there again after %s, and nothing was lost", away.Round(100*time.Millisecond))
		},
	}
}

// serve serves a tunnel until it ends, and returns why. When ctx ends it ends it.
func (l *line) serve(ctx, cut context.Context, t *Tunnel) (*EndError, error) {
	if l.tap != nil && l.tap.Gate != nil && !t.Credentials {
		l.shutdown(t)
		return &EndError{StatusCredentials, errors.New("the server takes Authorization out of requests, so --basic-auth-file would let nobody in: it has to be run with TUNNEL_FORWARD_CREDENTIALS=true")}, nil
	}
	if l.raw != nil && t.Raw == nil {
		l.shutdown(t)
		return nil, errors.New("the server has no raw port for it: all are taken, or it gives none")
	}
	l.announce(t)
	cut, cutAll := context.WithCancel(cut)
	defer cutAll()
	var accepting sync.WaitGroup
	accepting.Go(func() { l.accept(t, t.HTTP, func(c net.Conn) { l.serveHTTP(cut, c) }) })
	if t.Raw != nil {
		accepting.Go(func() { l.accept(t, t.Raw, func(c net.Conn) { l.serveRaw(cut, c) }) })
	}
	select {
	case <-t.Done:
	case <-ctx.Done():
		l.command.settle(cut)
	}
	_ = t.HTTP.Close()
	if t.Raw != nil {
		_ = t.Raw.Close()
	}
	accepting.Wait()
	cutAll() // those that are idle end in order, and what was written still goes out
	if ctx.Err() != nil {
		l.shutdown(t)
	}
	return nil, t.Err()
}

func (l *line) shutdown(t *Tunnel) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if t.Shutdown(ctx) == nil {
		return
	}
	select {
	case <-t.Done:
	case <-time.After(resetTimeout):
	}
}

// announce writes where the tunnel can be reached, if that is new.
func (l *line) announce(t *Tunnel) {
	a := l.addressOf(t)
	if a == l.address {
		return
	}
	l.address = a
	a.Time = time.Now()
	l.command.shown.Ready(a)
	if a.URL != "" {
		l.command.openBrowser(a.URL)
	}
}

func (l *line) addressOf(t *Tunnel) display.Address {
	a := display.Address{Tunnel: l.name, Target: l.target.String()}
	if l.raw != nil {
		a.Raw = t.RawAddr
	} else {
		a.URL = t.URL
	}
	return a
}

// accept serves what a listener accepts until the tunnel has ended.
func (l *line) accept(t *Tunnel, from net.Listener, serve func(net.Conn)) {
	for {
		c, err := from.Accept()
		if err == nil {
			l.serving.Go(func() { serve(c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-t.Done:
			return
		case <-time.After(acceptPause):
		}
	}
}

func (l *line) serveHTTP(cut context.Context, c net.Conn) {
	stream, ok := c.(rawtcp.Stream)
	switch {
	case !ok: // what no client does
		_ = c.Close()
	case l.tap == nil:
		l.command.shown.Say("somebody has asked for a page of " + l.target.String() + ", which is exposed as raw TCP alone: it is refused")
		_ = stream.Refuse()
	default:
		l.tap.Serve(cut, stream)
	}
}

func (l *line) serveRaw(cut context.Context, c net.Conn) {
	stream, ok := c.(rawtcp.Stream)
	if !ok || l.raw == nil {
		_ = c.Close()
		return
	}
	counters := &l.command.counters
	counters.Open.Add(1)
	defer counters.Open.Add(-1)
	shown := display.Connection{Tunnel: l.name, Start: time.Now(), Opens: true}
	if remote := c.RemoteAddr(); remote != nil {
		shown.Remote = remote.String()
	}
	l.command.connection(shown)
	r := l.raw.Serve(cut, stream)
	shown.Opens, shown.Duration = false, time.Since(shown.Start)
	shown.In, shown.Out, shown.Cut, shown.Err = r.In, r.Out, r.Cut, r.Err
	l.command.connection(shown)
}
