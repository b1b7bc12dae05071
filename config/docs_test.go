package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// blocks are the examples of documents: fenced without a language, or indented.
func blocks(documents string) (all []string) {
	fenced, plain, block := false, false, ""
	for line := range strings.Lines(documents) {
		inside, isIndented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced, plain = !fenced, line == "```\n"
		case fenced && plain:
			block += line
			continue
		case fenced:
		case isIndented:
			block += inside
			continue
		}
		if block != "" {
			all = append(all, block)
		}
		block = ""
	}
	return all
}

// What the documents show as a file of settings, or an environment, is one: each value can be
// read, and no comment stands behind it, where it would be part of it.
func TestSettingsInDocumentsCanBeRead(t *testing.T) {
	settings := regexp.MustCompile(`\A(#.*\n|[A-Z_]+ ?=.*\n)+\z`)
	command := regexp.MustCompile(`(?m)^[A-Z_]+=\S+ +\w`) // with a variable before it
	examples := 0
	for _, text := range blocks(read(t, "README.md", "docs/*.md", "docs/*/*.md")) {
		if !settings.MatchString(text) || command.MatchString(text) {
			continue
		}
		examples++
		pairs, err := parseFile(text)
		if err != nil {
			t.Errorf("%v, in\n%s", err, text)
			continue
		}
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			i := slices.IndexFunc(variables, func(v variable) bool { return v.name == name })
			if i < 0 {
				if name != "PROXY_DOMAIN" { // compose.yaml's
					t.Errorf("nobody reads %s, in\n%s", name, text)
				}
				continue
			}
			if err := variables[i].read(new(Config), value); err != nil || strings.Contains(value, " #") {
				t.Errorf("%s: %v, in\n%s", pair, err, text)
			}
		}
	}
	if examples < 5 {
		t.Errorf("there are %d examples", examples)
	}
}
