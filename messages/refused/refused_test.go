package refused

import (
	"regexp"
	"strings"
	"testing"

	"wsproxy/messages"
)

// Each pair is the labels of a counter, of which there is one.
func TestPairsAreDistinctLabels(t *testing.T) {
	label := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	pairs := make(map[string]bool)
	for _, endpoint := range Endpoints() {
		for _, reason := range Reasons(endpoint) {
			pair := string(endpoint) + " " + string(reason)
			if pairs[pair] || !label.MatchString(string(reason)) {
				t.Errorf("%q is there twice, or no label", pair)
			}
			pairs[pair] = true
			if !IsKnown(endpoint, reason) {
				t.Errorf("%q is not known", pair)
			}
		}
	}
	if len(pairs) < 60 {
		t.Errorf("there are %d pairs", len(pairs))
	}
	if IsKnown(Raw, messages.ReasonOrigin) || IsKnown("forward", messages.ReasonNoTunnel) {
		t.Error("what can't be is known")
	}
}

func TestOriginsInTheLog(t *testing.T) {
	for header, want := range map[string]string{
		"":                             "",
		"null":                         "null",
		"https://app.example.com":      "https://app.example.com",
		"https://app.example.com:8443": "https://app.example.com:8443",
		"http://[2001:db8::1]:80":      "http://[2001:db8::1]:80",
		"chrome-extension://abcdef":    "chrome-extension://abcdef",
		"https://":                     Unreadable,
		"://a":                         Unreadable,
		"a":                            Unreadable,
		"https://a?token=secret":       Unreadable,
		"https://a/secret":             Unreadable,
		"https://user:pass@host":       Unreadable,
		"https://a\"\n{}":              Unreadable,
		"https://ä":                    Unreadable,
		"https://" + strings.Repeat("a", maxOrigin): Unreadable,
	} {
		if got := Origin(header); got != want {
			t.Errorf("of %q the log has %q, want %q", header, got, want)
		}
	}
}

// Whatever a stranger sends, the log has a short word without anything that a reader of
// logs could take for something else.
func FuzzOrigin(f *testing.F) {
	for _, header := range []string{"", "null", "https://app.example.com:8443", "https://a/b?c#d", "x://[::1]", "\x00://\xff"} {
		f.Add(header)
	}
	plain := regexp.MustCompile(`^[A-Za-z0-9+.:/\[\]_-]*$`)
	f.Fuzz(func(t *testing.T, header string) {
		got := Origin(header)
		if got != header && got != Unreadable || len(got) > maxOrigin || !plain.MatchString(got) || strings.Count(got, "/") > 2 {
			t.Errorf("of %q the log has %q", header, got)
		}
		if Origin(got) != got && got != Unreadable {
			t.Errorf("%q is not taken twice", got)
		}
	})
}
