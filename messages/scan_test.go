package messages

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestControlScanFindsTypeAndID(t *testing.T) {
	for _, test := range []struct{ text, kind, id string }{
		{`{"type":"http_response","id":"0123456789ab","body":"x"}`, "http_response", "0123456789ab"},
		{`{"body":"` + strings.Repeat("x", 100) + `","id":"0123456789ab","type":"http_response"}`, "http_response", "0123456789ab"},
		{`{"headers":{"id":"ffffffffffff","type":"no"},"id":"0123456789ab","type":"http_response"}`, "http_response", "0123456789ab"},
		{`{"headers":{"a":["id","ffffffffffff"]},"type" : "http_response" , "id" : "0123456789ab"}`, "http_response", "0123456789ab"},
		{`{"body":"\"id\":\"ffffffffffff\",","id":"0123456789ab"}`, "", "0123456789ab"},
		{`{"body":"\\","id":"0123456789ab"}`, "", "0123456789ab"},
		{`{"status":200,"type":"tcp_close"}`, "tcp_close", ""},
		{`{"id":["ffffffffffff"]}`, "", ""},
		{`{"id":{"id":"ffffffffffff"}}`, "", ""},
		{`{}`, "", ""},
		{``, "", ""},
	} {
		for cut := range len(test.text) + 1 {
			var s ControlScan
			s.Read([]byte(test.text[:cut]))
			s.Read([]byte(test.text[cut:]))
			if s.Kind() != test.kind || s.ID() != test.id {
				t.Fatalf("%s, cut at %d: type %q and id %q", test.text, cut, s.Kind(), s.ID())
			}
		}
	}
}

// Where encoding/json finds an id that is written as it is, so does the scan.
// encoding/json replaces what is not UTF-8, which the scan has no need to do:
// no id is written so.
func FuzzControlScan(f *testing.F) {
	f.Add(`{"type":"http_response","headers":{"id":"ffffffffffff"},"id":"0123456789ab"}`, 7)
	f.Add(`{"a":[{"id":"x"}],"id":"0123456789ab","b":"\\\""}`, 20)
	f.Add("{\"id\":\"0123456789a\x92\"}", 7)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var s ControlScan
		cut = min(max(cut, 0), len(text))
		s.Read([]byte(text[:cut]))
		s.Read([]byte(text[cut:]))
		var whole map[string]any
		if json.Unmarshal([]byte(text), &whole) != nil || !utf8.ValidString(text) || strings.ContainsRune(text, '\\') || strings.Count(text, `"id"`) != 1 {
			return
		}
		if id, ok := whole["id"].(string); ok && len(id) < scanned && s.ID() != id {
			t.Errorf("the id is %q, the scan says %q", id, s.ID())
		}
	})
}
