package screen

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Size writes a number of bytes for people.
func Size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if f /= 1000; f < 999.95 || unit == "GB" {
			return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
		}
	}
	return ""
}

// Escape returns s without what a terminal obeys, or what changes how other text
// looks, and at most so many columns of it: \x1b stands for an escape character.
func Escape(s string, columns int) string {
	clean := len(s) <= columns
	for i := 0; clean && i < len(s); i++ {
		clean = ' ' <= s[i] && s[i] <= '~' && s[i] != '\\'
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	used := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		var piece []byte
		switch {
		case r == utf8.RuneError && n == 1:
			piece = fmt.Appendf(nil, `\x%02x`, s[i])
		case r == '\\':
			piece = []byte(`\\`)
		case r == ' ' || strconv.IsPrint(r):
			piece = []byte(s[i : i+n])
		case r < 0x80:
			piece = fmt.Appendf(nil, `\x%02x`, r)
		default:
			piece = fmt.Appendf(nil, `\u%04x`, r)
		}
		wide := columns1(r, piece)
		if used+wide > columns || used+wide == columns && i+n < len(s) {
			return string(append(b, "…"...))
		}
		b = append(b, piece...)
		used += wide
		i += n
	}
	return string(b)
}

// EscapeJSON has no character in JSON that a terminal obeys, or that changes how other
// text looks. encoding/json escapes those of ASCII alone.
func EscapeJSON(b []byte) []byte {
	clean := true
	for _, c := range b {
		clean = clean && c < 0x7f
	}
	if clean {
		return b
	}
	escaped := make([]byte, 0, len(b)+16)
	for _, r := range string(b) {
		switch {
		case r < 0x7f || strconv.IsPrint(r):
			escaped = utf8.AppendRune(escaped, r)
		case r < 0x10000:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		}
	}
	return escaped
}

// Columns returns how many columns a text takes that [Escape] has returned, or more.
func Columns(s string) (n int) {
	for _, r := range s {
		n += columns1(r, nil)
	}
	return n
}

// columns1 returns how many columns a rune takes, or what it is written as. East Asian ones
// take two; that some others don't only shortens a line.
func columns1(r rune, piece []byte) int {
	n := max(utf8.RuneCount(piece), 1)
	if r >= 0x1100 && r != '…' {
		n *= 2
	}
	return n
}
