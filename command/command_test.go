package command

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
)

// run runs a command line without any environment.
func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	status = Run(t.Context(), args, nil, strings.NewReader(""), &out, &err)
	return status, out.String(), err.String()
}

func TestEveryCommandHasAPage(t *testing.T) {
	for _, c := range commands {
		status, stdout, stderr := run(t, c.Name, "--help")
		if status != 0 || stderr != "" {
			t.Errorf("%s --help: status %d, %q", c.Name, status, stderr)
		}
		if !strings.HasPrefix(stdout, "wsproxy "+c.Name+": ") || !strings.Contains(stdout, "\n  "+cli.Usage(c)+"\n") {
			t.Errorf("%s --help doesn't tell what it is and how it is called:\n%s", c.Name, stdout)
		}
		if c.Summary == "" || strings.HasSuffix(c.Summary, ".") || strings.Contains(c.Summary, "\n") {
			t.Errorf("%s: the summary is %q", c.Name, c.Summary)
		}
		_, examples, found := strings.Cut(stdout, "\nExamples:\n")
		if !found || len(c.Examples) == 0 {
			t.Errorf("%s --help has no examples", c.Name)
		}
		for _, example := range c.Examples {
			if !strings.Contains(examples, "  # "+example.Says+"\n  "+example.Line+"\n") {
				t.Errorf("%s --help lacks the example %q", c.Name, example.Line)
			}
		}
		for _, line := range strings.Split(stdout, "\n") {
			if len(line) > 140 {
				t.Errorf("%s --help has a line of %d characters: %s", c.Name, len(line), line)
			}
		}
		if !strings.Contains(List(), "  wsproxy "+c.Name) || !strings.Contains(List(), c.Summary+"\n") {
			t.Errorf("%s is not on the list:\n%s", c.Name, List())
		}
	}
}

// Examples use only flags that there are.
func TestExamplesCanBeRead(t *testing.T) {
	for _, c := range commands {
		for _, example := range c.Examples {
			_, line, found := strings.Cut(example.Line+" ", "wsproxy "+c.Name+" ")
			if !found {
				t.Errorf("the example %q is not of %s", example.Line, c.Name)
				continue
			}
			line, _, _ = strings.Cut(line, "'") // what quotes it
			line, _, _ = strings.Cut(line, "|")
			flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
			flags.SetOutput(io.Discard)
			c.New(flags)
			if err := flags.Parse(strings.Fields(line)); err != nil {
				t.Errorf("the example %q: %v", example.Line, err)
			}
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands {
		if seen[c.Name] || !Known(c.Name) {
			t.Errorf("%s: there are two", c.Name)
		}
		seen[c.Name] = true
	}
	for _, name := range []string{"", "serve", "--help", "healthcheck"} {
		if Known(name) {
			t.Errorf("%q is known", name)
		}
		if status, stdout, stderr := run(t, name); status != 2 || stdout != "" || !strings.HasPrefix(stderr, fmt.Sprintf("wsproxy: %q is no command", name)) || !strings.Contains(stderr, "--help") {
			t.Errorf("%q: status %d, %q, %q", name, status, stdout, stderr)
		}
	}
	if status, _, _ := run(t); status != 2 {
		t.Errorf("nothing: status %d", status)
	}
}
