package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"wsproxy/internal/bench/reference"
	"wsproxy/internal/bench/table"
)

// commands are the subcommands.
var commands = map[string]func(ctx context.Context, args []string) error{
	"table":     runTable,
	"load":      runLoad,
	"compare":   runCompare,
	"reference": runReference,
	"scale":     runScale,
	"soak":      runSoak,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "bench: the first argument is one of table, scale, soak, load, compare and reference")
		os.Exit(2)
	}
	if os.Args[1] != "reference" {
		debug.SetGCPercent(400) // fewer pauses of its own in the latencies
	}
	switch err := commands[os.Args[1]](ctx, os.Args[2:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// parse parses the flags of a command that takes nothing else.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	return nil
}

// lists are the flags of what is a list of NAME=VALUE, with commas between.
func list(fs *flag.FlagSet, name, text string) *[]string {
	var values []string
	fs.Func(name, text, func(s string) error {
		for pair := range strings.SplitSeq(s, ",") {
			if !strings.Contains(pair, "=") {
				return fmt.Errorf("%q is not NAME=VALUE", pair)
			}
			values = append(values, pair)
		}
		return nil
	})
	return &values
}

func runTable(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("table", flag.ContinueOnError)
	var o table.Options
	out := table.Output{Table: os.Stdout}
	fs.StringVar(&o.Now, "binary", "bin/wsproxy", "the server's `binary`")
	fs.StringVar(&o.Before, "before", "", "another `binary`, which takes turns with it; else the figures of -figures are shown as before")
	env := list(fs, "env", "`NAME=VALUE,...` for the server, beside what every one gets")
	beforeEnv := list(fs, "before-env", "the same for -before")
	fs.IntVar(&o.Rounds, "rounds", 5, "how often each is measured")
	fs.BoolVar(&o.Short, "short", false, "small loads, one round: whether it works at all")
	fs.BoolVar(&o.GC, "gc", false, "measure the garbage collector's share of the processor time, too")
	only := fs.String("only", "", "a regular `expression` for the names of the rows")
	verbose := fs.Bool("v", false, "a line for each run, on standard error")
	fs.StringVar(&out.File, "figures", "internal/bench/figures.json", "`file` with the figures of last time")
	fs.BoolVar(&out.Save, "save", false, "write -figures")
	fs.StringVar(&out.Document, "document", "", "Markdown `file` whose table is replaced")
	if err := parse(fs, args); err != nil {
		return err
	}
	o.NowEnv, o.BeforeEnv = *env, *beforeEnv
	var err error
	if *only != "" {
		if o.Only, err = regexp.Compile(*only); err != nil {
			return err
		}
	}
	if o.Short {
		o.Rounds = 1
	}
	if o.Rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	if o.Log = os.Stderr; !*verbose {
		o.Log = fewLines{}
	}
	return table.Run(ctx, o, out)
}

// fewLines lets through of a log what fails, and what is being measured: all of it
// takes a quarter of an hour.
type fewLines struct{}

func (fewLines) Write(p []byte) (int, error) {
	if line := string(p); strings.HasPrefix(line, table.LogFailed) || strings.HasPrefix(line, table.LogBegins) {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

func runReference(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("reference", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:0", "`address` to serve on")
	if err := parse(fs, args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Printf("{\"msg\":\"listening\",\"address\":%q}\n", l.Addr())
	return reference.Serve(ctx, l)
}
