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

// What compose.yaml sets for wsproxy is read, and what it takes from .env is
// passed on under its own name.
func TestComposeSetsWhatIsRead(t *testing.T) {
	text := read(t, "compose.yaml")
	_, service, found := strings.Cut(text, "\n  wsproxy:\n")
	service, _, alsoFound := strings.Cut(service, "\n  caddy:\n")
	if !found || !alsoFound {
		t.Fatal("there is no service wsproxy before caddy")
	}
	set := regexp.MustCompile(`(?m)^      ([A-Z][A-Z0-9_]*): (.*)$`).FindAllStringSubmatch(service, -1)
	if len(set) < 5 {
		t.Fatalf("it sets %d variables", len(set))
	}
	for _, pair := range set {
		name, value := pair[1], pair[2]
		if !isOurs(name) && name != "GOMEMLIMIT" {
			t.Errorf("it sets %s, which nobody reads", name)
		}
		if strings.HasPrefix(value, "${") && !strings.HasPrefix(value, "${"+name+":") {
			t.Errorf("it sets %s to %s", name, value)
		}
	}
}
