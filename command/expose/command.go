package expose

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
	"wsproxy/command/remote"
)

// Command is wsproxy expose.
var Command = cli.Command{
	Name:    "expose",
	Args:    "[URL] TARGET...",
	Summary: "make services of this machine public through a server's tunnel",
	About: `A target is a port or an address of a service that speaks HTTP (3000, localhost:3000), a URL
(https://localhost:8443), a folder, which is served (./site), or any service on a raw port (tcp:22).
Several need names, each of which has its own address: web=3000 api=4000.

The address is written on standard output, then a line for each request. A tunnel that ends is opened
anew, until Ctrl-C. The exit status is 3 when the server refuses for good, 4 when another tunnel of
the same user takes the name, and 5 when the server strips what --basic-auth-file needs.

` + remote.About,
	Examples: []cli.Example{
		{Says: "a development server, which refuses names that it does not know", Line: "wsproxy expose --host-header localhost wss://proxy.example.com 5173"},
		{Says: "a folder, for those who have a name and a password", Line: "wsproxy expose --basic-auth-file users.txt wss://proxy.example.com ./site"},
		{Says: "several services, each with the same address every time", Line: "wsproxy expose wss://proxy.example.com web=3000 api=4000 db=tcp:5432"},
		{Says: "look at requests and send them again, on a page of this machine", Line: "wsproxy expose --inspect 127.0.0.1:4040 wss://proxy.example.com 3000"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		a := &action{}
		a.options.declare(flags)
		a.remote.Declare(flags)
		return a.run
	},
}

// declare declares the flags.
func (o *Options) declare(flags *pflag.FlagSet) {
	flags.StringVar(&o.Name, "name", "", "ask for the same address each time, by this `name`")
	flags.StringVar(&o.HostHeader, "host-header", "", "tell services this `host` in the place of the public name")
	flags.StringVar(&o.BasicAuthFile, "basic-auth-file", "", "ask outside clients for a name and a password of this `file`: lines of user:password, or of htpasswd -B")
	flags.StringVar(&o.ProxyProtocol, "proxy-protocol", "", "tell TCP services who is at the other end, in a PROXY protocol header of `version` v1 or v2")
	flags.StringVar(&o.Inspect, "inspect", "", "show the last requests on a page at this `address` or port, such as 127.0.0.1:4040")
	flags.BoolVar(&o.Open, "open", false, "open the address in a browser")
	flags.BoolVar(&o.JSON, "json", false, "write an object a line on standard output")
	flags.BoolVarP(&o.Quiet, "quiet", "q", false, "write no line for each request")
}

// An action is a command line that was read.
type action struct {
	options Options
	remote  remote.Flags
}

func (a *action) run(ctx context.Context, args []string, s cli.Streams) error {
	// Beside a URL in the environment, one URL alone is what is to be exposed.
	lone := len(args) == 1 && s.Getenv("WSPROXY_URL") != "" && isHTTP(args[0])
	given := args
	if lone {
		given = nil
	}
	server, targets, err := a.remote.Resolve(given, s)
	if err != nil {
		return err
	}
	if lone {
		targets = args
	}
	a.options.Targets = targets
	if a.options.Name != "" && server.Token == nil {
		fmt.Fprintln(s.Err, s.Paint(s.Err, cli.Yellow, "--name has no effect without a token: a name belongs to a user, so the address will be another one each time"))
	}
	fresh := a.remote.TokenFile != "" || a.remote.TokenCommand != "" ||
		s.Getenv("WSPROXY_TOKEN") == "" && s.Getenv("WSPROXY_TOKEN_COMMAND") != ""
	err = Run(ctx, a.options, Through(server), fresh, Streams{Out: s.Out, Err: s.Err, Getenv: s.Getenv})
	if usage, ok := errors.AsType[*UsageError](err); ok {
		return cli.Misuse("%w", usage.Err)
	}
	if end, ok := errors.AsType[*EndError](err); ok {
		return &cli.Exit{Status: end.Status, Err: end.Err}
	}
	return err
}

func isHTTP(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}
