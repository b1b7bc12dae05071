package top

import (
	"bytes"
	"unicode/utf8"
)

// The keys that are no character, as runes that no character is.
const (
	keyUp rune = utf8.MaxRune + 1 + iota
	keyDown
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keyEscape
	keyUnknown
)

// Control characters that a terminal sends for keys.
const (
	ctrlC     = 0x03
	ctrlD     = 0x04
	backspace = 0x08
	enter     = '\r'
	escape    = 0x1b
	deleted   = 0x7f // what most terminals send for the backspace key
)

// sequences are what follows an escape character.
var sequences = map[string]rune{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[5~": keyPageUp, "[6~": keyPageDown,
	"[H": keyHome, "OH": keyHome, "[1~": keyHome, "[F": keyEnd, "OF": keyEnd, "[4~": keyEnd,
}

// maxSequence is longer than any that is known, in bytes.
const maxSequence = 16

// readKeys returns the keys that a terminal has sent. What ends within one is left for the next call;
// an escape character at the end is the key of that name.
func readKeys(in []byte) (keys []rune, rest []byte) {
	for len(in) > 0 {
		if in[0] != escape {
			r, n := utf8.DecodeRune(in)
			if r == utf8.RuneError && n == 1 {
				if !utf8.FullRune(in) {
					return keys, in
				}
				r = keyUnknown
			}
			keys, in = append(keys, r), in[n:]
			continue
		}
		if len(in) == 1 || in[1] != '[' && in[1] != 'O' {
			keys, in = append(keys, keyEscape), in[1:]
			continue
		}
		end := bytes.IndexFunc(in[2:], func(r rune) bool { return r >= '@' })
		if end < 0 {
			if len(in) < maxSequence {
				return keys, in
			}
			keys, in = append(keys, keyUnknown), nil
			continue
		}
		_, n := utf8.DecodeRune(in[2+end:])
		key, known := sequences[string(in[1:2+end+n])]
		if !known {
			key = keyUnknown
		}
		keys, in = append(keys, key), in[2+end+n:]
	}
	return keys, nil
}
