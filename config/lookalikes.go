package config

import (
	"slices"
	"strings"
)

// A Lookalike is a variable of the environment that nobody reads, though its
// name is almost one of ours: probably somebody believes that it has an effect.
type Lookalike struct {
	Name  string // as it is set
	Meant string // ours that it looks like
}

// minLookalike is how many characters a name of ours has at least to be looked
// for: one letter beside PORT or BIND are POST and BIN, which mean other things.
const minLookalike = 6

// lookalikes lists, in the order of the environment, the variables that differ
// from one of ours in one letter, in two that changed places, or in plurals.
// What is set to nothing has no effect under any name.
func lookalikes(env environment) []Lookalike {
	var found []Lookalike
	for _, pair := range env {
		name, text, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(text) == "" || isOurs(name) {
			continue
		}
		meant := slices.IndexFunc(variables, func(v variable) bool { return looksLike(name, v.name) })
		if meant >= 0 {
			found = append(found, Lookalike{Name: name, Meant: variables[meant].name})
		}
	}
	return found
}

func isOurs(name string) bool {
	return slices.ContainsFunc(variables, func(v variable) bool { return v.name == name })
}

func looksLike(name, ours string) bool {
	if len(ours) < minLookalike {
		return false
	}
	return oneSlip(name, ours) || singular(name) == singular(ours)
}

// singular takes the plural off each word of a name.
func singular(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words {
		if stem, found := strings.CutSuffix(word, "IES"); found {
			words[i] = stem + "Y"
		} else {
			words[i] = strings.TrimSuffix(word, "S")
		}
	}
	return strings.Join(words, "_")
}

// oneSlip reports whether one letter too many, too few or another one, or two
// neighbours that changed places, make b of a.
func oneSlip(a, b string) bool {
	start := 0
	for start < min(len(a), len(b)) && a[start] == b[start] {
		start++
	}
	a, b = a[start:], b[start:]
	switch len(a) - len(b) {
	case 0:
		return len(a) > 0 && (a[1:] == b[1:] || len(a) > 1 && a[0] == b[1] && a[1] == b[0] && a[2:] == b[2:])
	case 1:
		return a[1:] == b
	case -1:
		return a == b[1:]
	}
	return false
}
