package check

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"wsproxy/command/cli"
)

// write writes the report for people.
func (r report) write(s cli.Streams) {
	table := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, setting := range r.Settings {
		mark := " "
		if setting.Set {
			mark = "*"
		}
		fmt.Fprintf(table, "%s %s\t%s\n", mark, setting.Name, printable(setting.Value))
	}
	table.Flush()
	writeAll(s, cli.Red, "Warning", r.Warnings)
	writeAll(s, cli.Yellow, "Note", r.Notes)
	if len(r.Warnings) == 0 {
		fmt.Fprintf(s.Out, "\n%s\n", s.Paint(s.Out, cli.Green, "No warnings."))
	}
}

func writeAll(s cli.Streams, colour cli.Colour, kind string, all []finding) {
	for _, f := range all {
		fmt.Fprintf(s.Out, "\n%s %s: %s.\n", s.Paint(s.Out, colour, kind+":"), f.Variable, f.Text)
	}
}

// printable quotes what could do something to a terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
