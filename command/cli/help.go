package cli

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// pageColumns is how wide a page of help is.
const pageColumns = 100

// writePage writes what c --help says.
func writePage(w io.Writer, c Command, flags *pflag.FlagSet) {
	fmt.Fprintf(w, "wsproxy %s: %s.\n\nUsage:\n  %s\n", c.Name, c.Summary, Usage(c))
	if c.About != "" {
		fmt.Fprintf(w, "\n%s\n", c.About)
	}
	if flags.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flags.FlagUsagesWrapped(pageColumns))
	}
	fmt.Fprint(w, "\nExamples:\n")
	for i, example := range c.Examples {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "  # %s\n  %s\n", example.Says, example.Line)
	}
}

// Usage returns the line that a command is called by, such as
// "wsproxy keygen [flags] DIR".
func Usage(c Command) string {
	line := "wsproxy " + c.Name + " [flags]"
	if c.Args != "" {
		line += " " + c.Args
	}
	return line
}
