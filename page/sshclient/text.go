package sshclient

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds, in bytes, of what a server sends to be shown. Each is far above what honest
// servers send, and small enough for a dialog.
const (
	maxReason  = 512
	maxPrompt  = 1 << 10
	maxText    = 8 << 10 // an instruction, or a banner
	maxBanners = 16      // that are shown of one login
	maxPrompts = 32      // in one question
	maxRounds  = 64      // of questions in one attempt
)

// Printable returns text as it can be shown to a person: valid UTF-8 without control
// characters, apart from tabs and newlines, without characters that change the
// direction of writing, and cut after limit bytes.
func Printable(text string, limit int) string {
	cut := false
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text, cut = text[:limit], true
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return '\n'
		case unicode.IsControl(r):
			return -1
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x061C:
			return -1 // a prompt could be written backwards
		}
		return r
	}, text) // invalid UTF-8 becomes U+FFFD
	if cut {
		text += "…"
	}
	return text
}
