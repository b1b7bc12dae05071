package document

import (
	"fmt"
	"os"
	"strings"
)

// Replace writes text between the marks <!-- name --> and <!-- /name --> of a Markdown
// file. What was between them goes.
func Replace(path, name, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, found := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no marks %q", path, name)
	}
	return os.WriteFile(path, []byte(before+begin+strings.TrimRight(text, "\n")+"\n"+end+after), 0o644)
}

// Markdown is a table with a header.
func Markdown(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(header)
	line(strings.Split(strings.Repeat("--- ", len(header)-1)+"---", " "))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
