package inspect

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"wsproxy/command/expose/tap"
)

// maxInflated bounds what a compressed body is made to for the page.
const maxInflated = 1 << 20

// A summary is a request in the list. Times are in milliseconds.
type summary struct {
	ID       uint64  `json:"id"`
	Tunnel   string  `json:"tunnel,omitempty"`
	Time     string  `json:"time"`
	Method   string  `json:"method"`
	Path     string  `json:"path"`
	Status   int     `json:"status"` // 0 while there is none
	First    float64 `json:"firstByteMs"`
	Duration float64 `json:"durationMs"`
	In       int64   `json:"bytesIn"`
	Out      int64   `json:"bytesOut"`
	Kind     string  `json:"contentType,omitempty"` // of the answer
	Remote   string  `json:"remoteAddr,omitempty"`
	Upgraded bool    `json:"upgraded,omitempty"`
	Ended    bool    `json:"ended"`
	Cut      bool    `json:"cut,omitempty"`
	Own      bool    `json:"own,omitempty"`
	Replayed bool    `json:"replayed,omitempty"`
	Hint     string  `json:"hint,omitempty"`
}

// A detail is a request with what was kept of it.
type detail struct {
	summary
	// Kept is false if heads and bodies were forgotten to make room.
	Kept    bool    `json:"kept"`
	Request message `json:"request"`
	Answer  message `json:"answer"`
}

// A message is a head and the front of a body.
type message struct {
	Start   string      `json:"start"` // the request line or the status line
	Headers [][2]string `json:"headers"`
	Body    body        `json:"body"`
}

// A body is text, or base64 of what is none.
type body struct {
	Text     string `json:"text"`
	Encoding string `json:"encoding,omitempty"` // "base64", or absent
	Decoded  string `json:"decoded,omitempty"`  // "gzip" if it was inflated
	Bytes    int    `json:"bytes"`              // that were kept, as they passed
	Cut      bool   `json:"cut,omitempty"`      // more has passed
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

func summarize(x *tap.Exchange) summary {
	s := summary{
		ID: x.ID, Tunnel: x.Tunnel, Time: x.Start.Format(time.RFC3339Nano),
		Method: text(x.Method), Path: text(x.Path), Status: x.Status,
		First: milliseconds(x.FirstByte), Duration: milliseconds(x.Duration), In: x.In, Out: x.Out,
		Remote: x.Remote, Upgraded: x.Upgraded, Ended: x.Ended, Cut: x.Cut, Own: x.Own, Replayed: x.Replayed, Hint: x.Hint,
	}
	if x.Kept != nil {
		_, fields := parseHead(x.AnswerHead)
		s.Kind = get(fields, "Content-Type")
	}
	return s
}

func describe(x *tap.Exchange) detail {
	d := detail{summary: summarize(x), Kept: x.Kept != nil}
	if x.Kept == nil {
		d.Request.Headers, d.Answer.Headers = [][2]string{}, [][2]string{}
		return d
	}
	d.Request = describeMessage(x.RequestHead, x.RequestBody, x.RequestCut)
	d.Answer = describeMessage(x.AnswerHead, x.AnswerBody, x.AnswerCut)
	return d
}

func describeMessage(head, b []byte, cut bool) message {
	m := message{}
	m.Start, m.Headers = parseHead(head)
	m.Body = body{Bytes: len(b), Cut: cut}
	if encoding := get(m.Headers, "Content-Encoding"); strings.EqualFold(encoding, "gzip") || strings.EqualFold(encoding, "x-gzip") {
		if inflated, ok := inflate(b); ok {
			b, m.Body.Decoded = inflated, "gzip"
		}
	}
	// A character that was cut at the end makes no text binary.
	whole := b
	for n := 0; cut && n < utf8.UTFMax-1 && len(whole) > 0 && !utf8.Valid(whole); n++ {
		whole = whole[:len(whole)-1]
	}
	if utf8.Valid(whole) && bytes.IndexByte(whole, 0) < 0 {
		m.Body.Text = string(whole)
	} else {
		m.Body.Text, m.Body.Encoding = base64.StdEncoding.EncodeToString(b), "base64"
	}
	return m
}

// inflate inflates what is there of a body, which may be cut.
func inflate(b []byte) ([]byte, bool) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	inflated, _ := io.ReadAll(io.LimitReader(z, maxInflated))
	return inflated, len(inflated) > 0 || len(b) < 64
}

// parseHead returns the first line and the fields of a head.
func parseHead(head []byte) (start string, fields [][2]string) {
	fields = [][2]string{}
	for i, line := range strings.Split(string(head), "\n") {
		line = strings.TrimSuffix(line, "\r")
		name, value, ok := strings.Cut(line, ":")
		switch {
		case i == 0:
			start = text(line)
		case ok:
			fields = append(fields, [2]string{text(name), text(strings.Trim(value, " \t"))})
		}
	}
	return start, fields
}

func get(fields [][2]string, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// text returns s as UTF-8; other bytes are read as ISO 8859-1.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i, c := range []byte(s) {
		runes[i] = rune(c)
	}
	return string(runes)
}
