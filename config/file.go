package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFile is how many bytes CONFIG_FILE may have: every variable with a list of
// hundreds of networks fits several times.
const maxFile = 64 * kib

// configFile is the variable that names a file of settings.
const configFile = "CONFIG_FILE"

// An Environment is what a server is configured by: the environment of its process,
// and behind that the file that CONFIG_FILE names.
type Environment struct {
	// Pairs are NAME=value, for Load. What the process's environment sets comes
	// from there, the rest from the file.
	Pairs []string
	// Unknown are names in the file that nobody reads and that look like none that is
	// read; for those see Misspelled.
	Unknown []string
	// Misspelled are names in the file that nobody reads and that look like one that is
	// read. They are not in Pairs.
	Misspelled []Lookalike
	// Shadowed are names in the file that have no effect, because the process's
	// environment says something else.
	Shadowed []string

	process []string // the process's environment
}

// ReadEnvironment reads the file that the environment names in CONFIG_FILE, if any.
// environ is like that of os.Environ. The error is a sentence for each line of the
// file that can't be read; it shows no value.
func ReadEnvironment(environ []string) (Environment, error) {
	e := Environment{Pairs: environ, process: environ}
	path, set := environment(environ).lookup(configFile)
	if !set {
		return e, nil
	}
	text, err := readFile(path)
	if err != nil {
		return Environment{}, fmt.Errorf("%s can't be read: %w", configFile, err)
	}
	pairs, err := parseFile(text)
	if err != nil {
		return Environment{}, fmt.Errorf("%s %q can't be read:\n%w", configFile, path, err)
	}
	e.merge(pairs)
	return e, nil
}

// Again reads the file once more. The environment of a process stays as it is.
func (e Environment) Again() (Environment, error) { return ReadEnvironment(e.process) }

// merge puts the file's settings behind those of the process. Set to nothing there
// is the same as unset.
func (e *Environment) merge(file []string) {
	var counts []string
	for _, pair := range file {
		name, text, _ := strings.Cut(pair, "=")
		holds, set := environment(e.process).lookup(name)
		similar := lookalikes(environment{pair})
		switch {
		case len(similar) > 0:
			e.Misspelled = append(e.Misspelled, similar...)
		case !isOurs(name) && text != "":
			e.Unknown = append(e.Unknown, name)
		case set && holds != text:
			e.Shadowed = append(e.Shadowed, name)
		case !set:
			counts = append(counts, pair)
		}
	}
	e.Pairs = slices.Concat(counts, e.process) // of two the first counts
}

// readFile reads a regular file: the open of a pipe could take for ever.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1)) // one more tells a longer one
	if err != nil {
		return "", err
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return string(text), nil
}

// parseFile reads lines of NAME=value and returns them as an environment has them,
// in their order. Blanks around names and values say nothing, nor do empty lines and
// those that begin with #. One pair of quotes around a whole value is taken off;
// nothing within is special, nor is a # or $ anywhere else. The error has a sentence
// for each line that is none of this, and shows no value, which may be a secret.
func parseFile(text string) (pairs []string, err error) {
	var errs []error
	seen := make(map[string]int)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) { // some editors begin with the mark
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, wrong := parseLine(line)
		switch before := seen[name]; {
		case wrong != "":
		case name == configFile:
			wrong = "a file can't name another one by " + configFile
		case before > 0:
			wrong = fmt.Sprintf("%s is in line %d already", name, before)
		default:
			seen[name] = number
			pairs = append(pairs, name+"="+value)
			continue
		}
		errs = append(errs, fmt.Errorf("line %d: %s", number, wrong))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return pairs, nil
}

// parseLine returns what is wrong with a line that is neither empty nor a comment.
func parseLine(line string) (name, value, wrong string) {
	name, value, found := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !found || !isName(name) {
		return "", "", "it must be NAME=value, or begin with #"
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return "", "", name + " has control characters, or bytes that are no UTF-8, in its value"
	}
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		if len(value) < 2 || value[len(value)-1] != value[0] {
			return "", "", name + " has a quote at the beginning of its value and none at the end"
		}
		value = strings.TrimSpace(value[1 : len(value)-1])
	}
	return name, value, ""
}

// isName reports whether a name is one that shells can set (POSIX, 3.216).
func isName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
