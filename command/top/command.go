package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"wsproxy/command/cli"
	"wsproxy/command/screen"
)

// tokenVariable has the token, unless --token-file is given.
const tokenVariable = "WSPROXY_ADMIN_TOKEN"

const (
	// minInterval and maxInterval bound the time between two looks. A look costs a server
	// with thousands of sessions some hundredths of a second.
	minInterval = 200 * time.Millisecond
	maxInterval = time.Hour
	// maxTokenFile bounds what is read of a token's file, in bytes.
	maxTokenFile = 4 << 10
)

// Command is wsproxy top.
var Command = cli.Command{
	Name:    "top",
	Args:    "URL",
	Summary: "show the sessions of a running server live, and close one",
	About: `URL is that of the server's METRICS_ADDR, such as http://127.0.0.1:9090, and the token its
ADMIN_TOKEN: the first line of --token-file, or WSPROXY_ADMIN_TOKEN. There is no TLS on that address:
go there by ssh -L 9090:127.0.0.1:9090 HOST. If METRICS_ADDR is a Unix socket, URL is the same: unix: and
its path, on the server's machine, by a user whom the file's mode lets in.

Keys: up and down select, k and then y closes what is selected, / filters (Enter keeps, Esc clears),
s sorts by the next column, q quits. Without a terminal, and with --once, one table is printed.`,
	Examples: []cli.Example{
		{Says: "look at a server of this machine", Line: "WSPROXY_ADMIN_TOKEN=$ADMIN_TOKEN wsproxy top http://127.0.0.1:9090"},
		{Says: "look at one whose METRICS_ADDR is a Unix socket", Line: "wsproxy top --token-file admin.token unix:/run/wsproxy/metrics"},
		{Says: "who moves most just now, in a script", Line: "wsproxy top --token-file admin.token --once http://127.0.0.1:9090"},
		{Says: "the same with rates as JSON, for jq", Line: "wsproxy top --token-file admin.token --json http://127.0.0.1:9090"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		var a action
		flags.StringVar(&a.tokenFile, "token-file", "", "`file` whose first line is the token")
		flags.DurationVar(&a.interval, "interval", time.Second, "`time` between two looks, of which rates are made")
		flags.StringVar(&a.sort, "sort", orders[0].name, "`column` to sort by: "+orderNames())
		flags.BoolVar(&a.once, "once", false, "print one table and end")
		flags.BoolVar(&a.json, "json", false, "print one JSON object and end")
		return a.run
	},
}

// An action is a command line that was read.
type action struct {
	tokenFile, sort string
	interval        time.Duration
	once, json      bool
}

func (a *action) run(ctx context.Context, args []string, s cli.Streams) error {
	if len(args) != 1 {
		return cli.Misuse("it takes one URL, that of the server's METRICS_ADDR, such as http://127.0.0.1:9090 or unix:/run/wsproxy/metrics")
	}
	at, err := addressOf(args[0])
	if err != nil {
		return cli.Misuse("the URL can't be used: %w", err)
	}
	if a.interval < minInterval || a.interval > maxInterval {
		return cli.Misuse("--interval is %s, but must be from %s to %s", a.interval, minInterval, maxInterval)
	}
	order, known := orderOf(a.sort)
	if !known {
		return cli.Misuse("--sort is %q, but must be one of %s", a.sort, orderNames())
	}
	token, err := a.token(s)
	if err != nil {
		return cli.Misuse("%w", err)
	}
	if at.inTheClear() {
		fmt.Fprintln(s.Err, s.Paint(s.Err, cli.Yellow, "wsproxy top: the token goes over the network as it is, for this is no https: whoever is on the way can read it"))
	}
	c := newClient(at, token)
	defer c.http.CloseIdleConnections()
	t := &table{order: order}
	in, out := cli.Terminal(s.In), cli.Terminal(s.Out)
	if a.once || a.json || in == nil || out == nil || s.Getenv("TERM") == "dumb" || !screen.Obeys(out) {
		return a.print(ctx, c, t, s)
	}
	restore, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("the terminal can't be used, try --once: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), restore) }()
	l := &live{client: c, view: view{table: t, server: at.String(), colours: s.Colours(s.Out)}, interval: a.interval, out: out, size: func() (int, int) {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil {
			return 80, 24
		}
		return width, height
	}}
	return l.run(ctx, in)
}

// maxSentence bounds what is shown of an error, in columns.
const maxSentence = 500

// print asks twice, for rates, and prints what there is.
func (a *action) print(ctx context.Context, c *client, t *table, s cli.Streams) error {
	for i := range 2 {
		if i > 0 {
			select {
			case <-time.After(a.interval):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		answer, err := c.sessions(ctx)
		if err != nil {
			return errors.New(screen.Escape(err.Error(), maxSentence)) // it may have the server's words
		}
		t.take(answer)
	}
	if a.json {
		encoder := json.NewEncoder(escaped{s.Out})
		encoder.SetEscapeHTML(false)
		return encoder.Encode(t.document())
	}
	width := 0
	if out := cli.Terminal(s.Out); out != nil {
		width, _, _ = term.GetSize(int(out.Fd()))
	}
	v := view{table: t, colours: s.Colours(s.Out)}
	_, err := io.WriteString(s.Out, strings.Join(v.list(width), "\n")+"\n")
	return err
}

// escaped writes JSON so that a terminal obeys nothing of it.
type escaped struct{ io.Writer }

func (e escaped) Write(b []byte) (int, error) {
	line := strings.TrimSuffix(string(b), "\n")
	if _, err := e.Writer.Write(append(screen.EscapeJSON([]byte(line)), '\n')); err != nil {
		return 0, err
	}
	return len(b), nil
}

// token is that of the file, or of the environment. No error has what was read in it.
func (a *action) token(s cli.Streams) (string, error) {
	token, from := s.Getenv(tokenVariable), tokenVariable
	if a.tokenFile != "" {
		from = "the first line of --token-file"
		file, err := os.Open(a.tokenFile)
		if err != nil {
			return "", fmt.Errorf("the file of --token-file can't be read: %w", err)
		}
		defer file.Close()
		raw, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
		if err != nil {
			return "", fmt.Errorf("the file of --token-file can't be read: %w", err)
		}
		token, _, _ = strings.Cut(string(raw), "\n")
		token = strings.TrimSpace(token)
	}
	switch {
	case token == "" && a.tokenFile == "":
		return "", fmt.Errorf("the token is missing: set %s to the server's ADMIN_TOKEN, or give --token-file", tokenVariable)
	case token == "":
		return "", fmt.Errorf("%s is empty", from)
	case strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", fmt.Errorf("%s is no token that HTTP carries: it has control characters, or others than those of ASCII", from)
	}
	return token, nil
}
