package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	wsproxy "wsproxy/client/go"
	"wsproxy/command/cli"
	"wsproxy/command/remote"
	"wsproxy/messages"
)

// Command is `wsproxy connect`.
var Command = cli.Command{
	Name:    "connect",
	Args:    "[URL] HOST PORT",
	Summary: "join standard input and output to a TCP connection on the server's side, or listen for some",
	About: `The connection goes on when the network changes or the machine sleeps, for as long as the server waits
(15 minutes by default). The end of the input is told to the target, and the target's ends the
output. Exit status 0 says that every byte has arrived and both sides have ended in order.

` + remote.About,
	Examples: []cli.Example{
		{Says: "SSH through a server; in ~/.ssh/config it is ProxyCommand wsproxy connect wss://proxy.example.com %h %p", Line: "ssh -o ProxyCommand='wsproxy connect wss://proxy.example.com %h %p' build.example.com"},
		{Says: "a database of the server's side as a port of this machine", Line: "wsproxy connect -L 127.0.0.1:15432 wss://proxy.example.com db.example.com 5432"},
		{Says: "with a token that a command prints", Line: "WSPROXY_TOKEN_COMMAND='pass show proxy-token' wsproxy connect wss://proxy.example.com build.example.com 22"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		var c command
		c.remote.Declare(flags)
		flags.BoolVarP(&c.remote.Verbose, "verbose", "v", false, "say when the connection is lost, taken up, and for how long it was away")
		flags.StringVarP(&c.listen, "listen", "L", "", "listen on this `address` or port, and relay each connection")
		return c.run
	},
}

type command struct {
	remote remote.Flags
	listen string
}

func (c *command) run(ctx context.Context, args []string, s cli.Streams) error {
	server, args, err := c.remote.Resolve(args, s)
	if err != nil {
		return err
	}
	if len(args) != 2 {
		return cli.Misuse("two arguments are expected behind the URL, a host and a port, not %d", len(args))
	}
	port, err := strconv.Atoi(args[1])
	if err != nil || port < 1 || port > 65535 {
		return cli.Misuse("the port must be a number from 1 to 65535, not %q", args[1])
	}
	// An output that is closed must not end the process before the server has heard
	// of it. Unlike Ignore this doesn't reach a command for tokens.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	p := &plan{server: server, host: args[0], port: port, errors: s.Err}
	if c.listen != "" {
		return p.listen(ctx, c.listen, s)
	}
	relay, watch, err := p.dial(ctx)
	if err != nil {
		return p.explain(err)
	}
	out, ok := s.Out.(io.WriteCloser)
	if !ok {
		out = nopCloser{s.Out}
	}
	err = pipe(ctx, relay, s.In, out, cli.Terminal(s.In) != nil)
	watch.ended(err)
	if hung, ok := errors.AsType[hangUpError](err); ok {
		watch.say("told to end, and nobody knows whether all has arrived: %v", p.explain(hung.error))
		return &cli.Exit{Status: cli.StatusFailed}
	}
	return p.explain(err)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// A plan is what is dialled, and through which server.
type plan struct {
	server remote.Server
	host   string
	port   int
	errors io.Writer
}

// unreachable is how a server says that it can't reach a target.
var _, unreachable = messages.CloseFor(messages.ReasonTargetUnreachable)

// dialLimit bounds the opening of a relay: a token command may take a minute by itself.
const dialLimit = 90 * time.Second

func (p *plan) dial(ctx context.Context) (Relay, *watch, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	w := &watch{verbose: p.server.Verbose, hasToken: p.server.Token != nil, errors: p.errors}
	options := wsproxy.DialOptions{Server: p.server.Client(), Host: p.host, Port: p.port}
	options.OnDetached, options.OnRetry, options.OnResumed = w.detached, w.retry, w.resumed
	conn, err := wsproxy.Dial(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	relay := conn.(*wsproxy.Conn)
	if p.server.Verbose {
		how := "it outlives its WebSocket"
		if !relay.Resumable() {
			how = "it ends with its WebSocket"
		}
		w.say("connected, %s", how)
	}
	return relay, w, nil
}

func (p *plan) target() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// explain makes a sentence of why a relay could not be had, or has ended, with the
// target, which the server does not repeat.
func (p *plan) explain(err error) error {
	var refused *wsproxy.RefusedError
	var closed *wsproxy.CloseError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		return fmt.Errorf("%s: %w", p.target(), err)
	case errors.As(err, &closed) && closed.Reason == unreachable:
		return fmt.Errorf("the server %s %s: does something listen there?", unreachable, p.target())
	case errors.As(err, &closed) && (closed.Code == messages.ClosePolicy || closed.Code == messages.CloseInternal):
		return fmt.Errorf("%s: %w", p.target(), err)
	}
	return remote.Explain(err, p.server.Token != nil)
}

// listen relays each connection to an address of this machine.
func (p *plan) listen(ctx context.Context, address string, s cli.Streams) error {
	if _, err := strconv.Atoi(address); err == nil {
		address = net.JoinHostPort("127.0.0.1", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	own := listener.Addr().(*net.TCPAddr)
	fmt.Fprintf(s.Err, "listening on %s, which leads to %s\n", own, p.target())
	if !own.IP.IsLoopback() {
		fmt.Fprintln(s.Err, s.Paint(s.Err, cli.Yellow, "whoever reaches this machine may use it: 127.0.0.1:"+strconv.Itoa(own.Port)+" would be for this machine alone"))
	}
	dial := func(ctx context.Context) (Relay, error) {
		relay, _, err := p.dial(ctx)
		return relay, err
	}
	return serve(ctx, listener, dial, func(from net.Addr, err error) {
		fmt.Fprintf(s.Err, "the connection from %s was reset: %v\n", from, p.explain(err))
	})
}
