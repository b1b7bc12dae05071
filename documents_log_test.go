package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A logLine is what a logger is told in the source: a method's name, and a message.
type logLine struct{ level, message string }

// logLines reads the packages of the server: what its loggers are told word for word, and all
// strings that there are, of which messages may be made.
func logLines(t *testing.T) (lines []logLine, literals []string) {
	t.Helper()
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if room, _, _ := strings.Cut(path, "/"); !slices.Contains([]string{"actors", "auth", "server", "transport", "netpolicy"}, room) {
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if text, isString := literal(n); isString {
					literals = append(literals, text)
				}
				call, isCall := n.(*ast.CallExpr)
				if !isCall || len(call.Args) == 0 {
					return true
				}
				method, isMethod := call.Fun.(*ast.SelectorExpr)
				if text, isString := literal(call.Args[0]); isString && isMethod && slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
					lines = append(lines, logLine{strings.ToUpper(method.Sel.Name), text})
				}
				return true
			})
		}
	}
	if len(lines) < 30 {
		t.Fatalf("%d lines are understood", len(lines))
	}
	return lines, literals
}

// literal returns the value of a string that is written out.
func literal(n ast.Node) (string, bool) {
	l, isLiteral := n.(*ast.BasicLit)
	if !isLiteral || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// docs/logs.md has a row for each line that the server writes, at its level, and none for one
// that it doesn't. A long message may end there with "…".
func TestLogLinesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []logLine
	for _, row := range regexp.MustCompile(`(?m)^\| (DEBUG|INFO|WARN|ERROR) \| (.*?) \|`).FindAllStringSubmatch(string(text), -1) {
		for _, message := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(row[2], -1) {
			rows = append(rows, logLine{row[1], message[1]})
		}
	}
	says := func(documented, message string) bool {
		beginning, isCut := strings.CutSuffix(documented, "…")
		return documented == message || isCut && strings.HasPrefix(message, strings.TrimSpace(beginning))
	}
	lines, literals := logLines(t)
	for _, line := range lines {
		if !slices.ContainsFunc(rows, func(row logLine) bool { return row.level == line.level && says(row.message, line.message) }) {
			t.Errorf("docs/logs.md has no row for %s %q", line.level, line.message)
		}
	}
	ofLibraries := []string{"[DeadLetter]", "actor system started"}
	for _, row := range rows {
		if !slices.Contains(ofLibraries, row.message) && !slices.ContainsFunc(literals, func(message string) bool { return says(row.message, message) }) {
			t.Errorf("docs/logs.md has a row for %q, which nobody writes", row.message)
		}
	}
}
