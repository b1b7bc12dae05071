package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

const usage = `wsproxy relays TCP over WebSocket, and tunnels what the outside world sends back.

Usage:
  wsproxy              run the server until SIGTERM or SIGINT; a second signal ends it at once
  wsproxy healthcheck  ask the server that runs with this environment for /health: exit 0 when it is well, else 1
  wsproxy --help       print this page
  wsproxy --version    print the version
`

const variablesUsage = `
The server is configured by the environment, and by the file that CONFIG_FILE names. All of it is optional. A value that can't be read
ends the start with exit status 2. Durations are like 500ms, 30s or 2m, sizes like 512KiB, 32MiB
or plain bytes, lists are comma-separated. Set to nothing is the same as unset.

SIGHUP makes the server read the file again, without a restart. It changes
`

// reloadWidth is how long a line of the list of what SIGHUP changes may be.
const reloadWidth = 110

// WriteHelp writes the usage and the table of all variables, each with its
// default, its meaning and, on a line of its own, what it is set to now, in the file
// of settings too.
//
// commands, if there are any, are what else wsproxy can do: lines for the usage.
func WriteHelp(w io.Writer, environ []string, commands ...string) {
	read, err := ReadEnvironment(environ)
	if err == nil {
		environ = read.Pairs
		_, err = Load(environ)
	}
	env := environment(environ)
	io.WriteString(w, usage)
	if len(commands) > 0 {
		io.WriteString(w, "\nCommands; wsproxy NAME --help tells more of one:\n"+strings.Join(commands, ""))
	}
	io.WriteString(w, variablesUsage)
	line := ""
	for _, name := range Reloadable() {
		if line != "" && len(line)+len(", ,")+len(name) > reloadWidth {
			fmt.Fprintln(w, line+",")
			line = ""
		} else if line != "" {
			line += ", "
		}
		line += name
	}
	fmt.Fprint(w, line, ".\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tDEFAULT\tMEANING")
	for i := range variables {
		v := &variables[i]
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.name, v.defaultText(), v.help)
		if text, set := env.lookup(v.name); set {
			fmt.Fprintf(table, "\t\t= %s\n", v.describe(text, env))
		}
	}
	table.Flush()
	if err != nil {
		fmt.Fprintf(w, "\nWhat is set now would end the start:\n%s\n", err)
	}
}

// defaultText is the default for people: the value, or what unset means.
func (v *variable) defaultText() string {
	if v.fallback != "" {
		return v.fallback
	}
	return v.unset
}

// describe says what a variable is set to.
func (v *variable) describe(text string, env environment) string {
	var scratch Config
	if v.load(&scratch, env) != nil {
		return v.shown(text) + ", which can't be read"
	}
	return v.shown(text)
}
