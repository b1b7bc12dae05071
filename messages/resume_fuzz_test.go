package messages

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracleResume reads a message of section 9 with encoding/json.
func oracleResume(in []byte, unit string) (ResumeMessage, error) {
	if !utf8.Valid(in) || !json.Valid(in) {
		return ResumeMessage{}, ErrNotJSON
	}
	last := map[string]json.RawMessage{}
	if bytes.TrimLeft(in, " \t\r\n")[0] == '{' {
		if err := members(in, func(name string, value json.RawMessage) error {
			last[name] = value
			return nil
		}); err != nil {
			return ResumeMessage{}, ErrNotJSON
		}
	}
	text := func(name string) string {
		var s *string
		if json.Unmarshal(last[name], &s) != nil || s == nil {
			return ""
		}
		return *s
	}
	ok := true
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(string(last[name]), 10, 64)
		if err != nil || n > MaxPosition {
			ok = false
		}
		return n
	}
	var m ResumeMessage
	switch text("type") {
	case "ack":
		m = ResumeMessage{Kind: KindAck, Position: number(unit), Limit: number("limit")}
	case "resumed":
		m = ResumeMessage{Kind: KindResumed, Position: number(unit), Limit: number("limit")}
	case "session":
		m = ResumeMessage{Kind: KindSession, Token: text("resume"), Timeout: number("timeout"), Limit: number("limit")}
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
		ok = ok && m.Token != "" && len(m.Token) <= 200 && strings.Trim(m.Token, alphabet) == ""
		for _, c := range m.Token {
			ok = ok && strings.ContainsRune(alphabet, c)
		}
	case "ping":
		m.Kind = KindPing
	case "pong":
		m.Kind = KindPong
	case "eof":
		m.Kind = KindEOF
	}
	if !ok {
		return ResumeMessage{Kind: m.Kind}, ErrBadAck
	}
	return m, nil
}

// Both ways of reading, and encoding/json, find the same.
func FuzzResume(f *testing.F) {
	for _, test := range resumeTexts {
		f.Add([]byte(test.in), false)
		f.Add([]byte(test.in), true)
	}
	f.Add(AppendAck(nil, UnitMessages, 1<<52, 3), true)
	f.Add(AppendSession(nil, strings.Repeat("x", 201), 900, 65536), false)
	f.Add([]byte(`{"ty\u0070e":"\u0061ck","\u0062ytes":1,"limit":2}`), false)
	f.Fuzz(func(t *testing.T, in []byte, counted bool) {
		if bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > 10_000 {
			return // encoding/json may find it too deep
		}
		unit := UnitBytes
		if counted {
			unit = UnitMessages
		}
		before := bytes.Clone(in)
		want, wantErr := oracleResume(in, unit)
		got, err := DecodeResume(in, unit)
		if got != want || err != wantErr {
			t.Fatalf("%q: %+v, %v; encoding/json: %+v, %v", in, got, err, want, wantErr)
		}
		slow, err := decodeResume(in, unit)
		if slow != want || err != wantErr {
			t.Fatalf("%q, read slowly: %+v, %v; encoding/json: %+v, %v", in, slow, err, want, wantErr)
		}
		if !bytes.Equal(in, before) {
			t.Fatalf("%q was changed into %q", before, in)
		}
		if err != nil {
			return
		}
		var again []byte
		switch got.Kind {
		case KindAck:
			again = AppendAck(nil, unit, got.Position, got.Limit)
			if fast, ok := canonical(again, unit); !ok || fast != got {
				t.Fatalf("%q is not read fast: %+v", again, fast)
			}
		case KindResumed:
			again = AppendResumed(nil, unit, got.Position, got.Limit)
		case KindSession:
			if got.Timeout > 1<<30 {
				return
			}
			again = AppendSession(nil, got.Token, int(got.Timeout), got.Limit)
		default:
			return
		}
		if back, err := DecodeResume(again, unit); err != nil || back != got {
			t.Fatalf("%q is read back as %+v, %v; want %+v", again, back, err, got)
		}
	})
}
