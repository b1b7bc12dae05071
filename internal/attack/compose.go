package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A deployment is what an operator gives the server.
type deployment struct {
	env         []string // "NAME=value", those that are not empty
	memory      int64    // bytes
	descriptors uint64
}

// reference is ${NAME:-default}.
var reference = regexp.MustCompile(`\$\{[A-Z_]+(?::-([^}]*))?\}`)

// readCompose reads the service wsproxy of a compose.yaml that is laid out as
// the project's own. It is no parser of YAML: a value that it does not find is
// an error, so that a new layout is noticed.
func readCompose(path string) (d deployment, err error) {
	file, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer file.Close()
	service, section := "", ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), " #")
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, _ := strings.Cut(text, ":")
		value = strings.Trim(strings.TrimSpace(reference.ReplaceAllString(value, "$1")), `"`)
		switch len(line) - len(strings.TrimLeft(line, " ")) {
		case 2:
			service = name
		case 4:
			section = name
			if service == "wsproxy" && name == "mem_limit" {
				d.memory, err = composeSize(value)
			}
		case 6:
			switch {
			case service != "wsproxy":
			case section == "environment" && value != "":
				d.env = append(d.env, name+"="+value)
			case section == "ulimits" && name == "nofile":
				d.descriptors, err = strconv.ParseUint(value, 10, 64)
			}
		}
		if err != nil {
			return d, fmt.Errorf("%s: %q: %w", path, text, err)
		}
	}
	if d.memory == 0 || d.descriptors == 0 || len(d.env) == 0 {
		return d, fmt.Errorf("%s: the service wsproxy has no environment, mem_limit or nofile that can be read", path)
	}
	return d, nil
}

// composeSize reads a size such as 1g.
func composeSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "bkmg")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, err
	}
	shift := map[string]int{"": 0, "b": 0, "k": 10, "m": 20, "g": 30}
	s, known := shift[text[len(digits):]]
	if !known {
		return 0, fmt.Errorf("%q is no unit", text[len(digits):])
	}
	return n << s, nil
}
