package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// written returns the paths of all files of the tree with one of the endings, but for
// what was installed or built.
func written(t *testing.T, endings ...string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case !d.IsDir() && slices.Contains(endings, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// prose is a document without its examples, which may have anything in them.
func prose(text string) string {
	var rest strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case !fenced && !strings.HasPrefix(line, "    "):
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// anchorOf is what GitHub makes of a heading.
func anchorOf(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, heading)
}

// anchors are those of all headings of a document.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#+ +(.*?) *$`).FindAllStringSubmatch(prose(text), -1) {
		anchor := anchorOf(heading[1])
		for i := 1; all[anchor]; i++ {
			anchor = anchorOf(heading[1]) + "-" + strconv.Itoa(i)
		}
		all[anchor] = true
	}
	return all
}

// Each link of a document to another one, to a heading, or to a file leads to what is
// there.
func TestLinksOfDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	span := regexp.MustCompile("`[^`\n]*`") // a link's text may be code, its target is not
	headings := make(map[string]map[string]bool)
	links := 0
	for _, file := range written(t, ".md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(span.ReplaceAllString(prose(string(text)), ""), -1) {
			if strings.Contains(found[1], ":") { // of another site
				continue
			}
			links++
			path, anchor, _ := strings.Cut(found[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); err != nil && (statErr != nil || !info.IsDir()) {
				t.Errorf("%s links to %s, which is not there", file, found[1])
				continue
			}
			if headings[target] == nil {
				headings[target] = anchors(string(content))
			}
			if anchor != "" && !headings[target][anchor] {
				t.Errorf("%s links to %s, and %s has no such heading", file, found[1], target)
			}
		}
	}
	if links < 200 {
		t.Errorf("there are %d links", links)
	}
}

// What comments, settings and messages call a document is there, too.
func TestNamesOfDocuments(t *testing.T) {
	name := regexp.MustCompile(`\bdocs/[\w/-]+\.md\b`)
	names := 0
	for _, file := range written(t, ".go", ".md", ".yaml", ".yml", ".conf", ".cfg", ".env", ".service", ".js", ".mjs", ".ts", ".tsx") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "docs/") { // which is quicker
			continue
		}
		for _, document := range name.FindAllString(string(text), -1) {
			names++
			if _, err := os.Stat(document); err != nil {
				t.Errorf("%s names %s, which is not there", file, document)
			}
		}
	}
	if names < 50 {
		t.Errorf("there are %d names", names)
	}
}
