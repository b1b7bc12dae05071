package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"wsproxy/command/check"
	"wsproxy/command/cli"
	"wsproxy/command/connect"
	"wsproxy/command/expose"
	"wsproxy/command/keys"
	"wsproxy/command/top"
)

// commands is the whole table, in the order of --help. A new command is a line
// here.
var commands = []cli.Command{
	connect.Command,
	expose.Command,
	keys.Keygen,
	keys.Token,
	check.Command,
	top.Command,
}

// Known reports whether there is a command of that name.
func Known(name string) bool { return find(name) >= 0 }

func find(name string) int {
	return slices.IndexFunc(commands, func(c cli.Command) bool { return c.Name == name })
}

// Run runs the command that args begin with and returns its exit status: 0, 1 when
// it has failed, 2 when arguments or environment can't be read, or one of its own.
// environ is like os.Environ's. When ctx is cancelled the command ends in order.
func Run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 || !Known(args[0]) {
		fmt.Fprintf(stderr, "wsproxy: %q is no command; wsproxy --help lists them\n", strings.Join(args, " "))
		return cli.StatusUsage
	}
	streams := cli.Streams{In: stdin, Out: stdout, Err: stderr, Environ: environ}
	return cli.Execute(ctx, commands[find(args[0])], args[1:], streams)
}

// List returns a line for each command, for the page of wsproxy --help.
func List() string {
	var lines strings.Builder
	table := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	for _, c := range commands {
		line := "wsproxy " + c.Name
		if c.Args != "" {
			line += " " + c.Args
		}
		fmt.Fprintf(table, "  %s\t%s\n", line, c.Summary)
	}
	table.Flush()
	return lines.String()
}
