package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// read returns the text of all files that match.
func read(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: there is none, %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
			all.WriteByte('\n')
		}
	}
	return all.String()
}

// Somewhere in the documents there is a table with a row for each variable,
// which begins with its name and its default.
func TestDocumentsListEveryVariable(t *testing.T) {
	documents := read(t, "README.md", "docs/*.md")
	for i := range variables {
		v := &variables[i]
		row := "(?m)^\\| `" + v.name + "` \\| `?" + regexp.QuoteMeta(v.defaultText()) + "`? \\|"
		if !regexp.MustCompile(row).MatchString(documents) {
			t.Errorf("no table has a row that begins with | `%s` | %s |", v.name, v.defaultText())
		}
	}
}
