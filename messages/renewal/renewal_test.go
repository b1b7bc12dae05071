package renewal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestDecodeAuth(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"auth","token":"a.b.c"}`:                                   "a.b.c",
		` {"token" : "a.b.c", "x":[1], "type":"auth"} `:                     "a.b.c",
		`{"type":"auth"}`:                                                   "",
		`{"type":"auth","token":7}`:                                         "no",
		`{"type":"http_response","id":"auth","body":"\"auth\"`:              "no",
		`{"type":"tcp_close","connId":"auth"}`:                              "no",
		`["auth"]`:                                                          "no",
		`{"type":"auth","token":"` + strings.Repeat("x", MaxMessage) + `"}`: "no",
		"": "no",
	} {
		token, ok := DecodeAuth([]byte(text))
		if ok != (want != "no") || ok && token != want {
			t.Errorf("%.50s: %.50q, %v", text, token, ok)
		}
	}
}

func TestMessages(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"type":"auth_ok","exp":946684800}`:           EncodeOK(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)),
		`{"type":"auth_failed","reason":"other_user"}`: EncodeFailed(WhyOtherUser),
		`{"type":"auth_expires","in":60}`:              EncodeExpires(time.Minute),
	} {
		if string(got) != want || !json.Valid(got) {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
}

// A client sends what it likes: no panic, and b stays as it is.
func FuzzDecodeAuth(f *testing.F) {
	for _, seed := range []string{`{"type":"auth","token":"x"}`, `{"auth":{"type":"auth"}}`, `"auth"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := []byte(text)
		token, ok := DecodeAuth(b)
		if string(b) != text {
			t.Error("the message was changed")
		}
		if ok && !json.Valid(b) || !ok && token != "" {
			t.Errorf("of %q comes %q, %v", text, token, ok)
		}
	})
}
