package auth

import (
	"net/http"
	"net/url"
	"testing"
)

func TestTokenFrom(t *testing.T) {
	for name, c := range map[string]struct {
		query  string
		header http.Header
		want   string
	}{
		"nothing":              {"", nil, ""},
		"query":                {"token=abc", nil, "abc"},
		"query, others beside": {"host=x&port=22&token=abc", nil, "abc"},
		"query twice":          {"token=abc&token=def", nil, "abc"},
		"query empty":          {"token=", nil, ""},
		"query in other case":  {"TOKEN=abc", nil, ""},
		"query wins":           {"token=abc", http.Header{"Authorization": {"Bearer def"}, "Sec-Websocket-Protocol": {"bearer.ghi"}}, "abc"},
		"empty query passes":   {"token=", http.Header{"Authorization": {"Bearer def"}}, "def"},

		"bearer":               {"", http.Header{"Authorization": {"Bearer abc"}}, "abc"},
		"bearer lower case":    {"", http.Header{"Authorization": {"bearer abc"}}, "abc"},
		"bearer upper case":    {"", http.Header{"Authorization": {"BEARER abc"}}, "abc"},
		"bearer, more spaces":  {"", http.Header{"Authorization": {"  Bearer   abc  "}}, "abc"},
		"bearer with nothing":  {"", http.Header{"Authorization": {"Bearer"}}, ""},
		"bearer with a space":  {"", http.Header{"Authorization": {"Bearer "}}, ""},
		"bearer without space": {"", http.Header{"Authorization": {"Bearerabc"}}, ""},
		"basic":                {"", http.Header{"Authorization": {"Basic abc"}}, ""},
		"basic passes":         {"", http.Header{"Authorization": {"Basic x"}, "Sec-Websocket-Protocol": {"bearer.ghi"}}, "ghi"},
		"bearer wins":          {"", http.Header{"Authorization": {"Bearer def"}, "Sec-Websocket-Protocol": {"bearer.ghi"}}, "def"},

		"subprotocol":           {"", http.Header{"Sec-Websocket-Protocol": {"wsproxy.v1, bearer.abc"}}, "abc"},
		"subprotocol first":     {"", http.Header{"Sec-Websocket-Protocol": {"bearer.abc,wsproxy.v1"}}, "abc"},
		"subprotocol alone":     {"", http.Header{"Sec-Websocket-Protocol": {"bearer.abc"}}, "abc"},
		"subprotocol two lines": {"", http.Header{"Sec-Websocket-Protocol": {"wsproxy.v1", "bearer.abc"}}, "abc"},
		"subprotocol tabs":      {"", http.Header{"Sec-Websocket-Protocol": {"wsproxy.v1 ,\tbearer.a.b.c\t"}}, "a.b.c"},
		"subprotocol twice":     {"", http.Header{"Sec-Websocket-Protocol": {"bearer.abc, bearer.def"}}, "abc"},
		"subprotocol empty":     {"", http.Header{"Sec-Websocket-Protocol": {"bearer., ,,bearer.abc"}}, "abc"},
		"subprotocol own case":  {"", http.Header{"Sec-Websocket-Protocol": {"Bearer.abc"}}, ""},
		"subprotocol others":    {"", http.Header{"Sec-Websocket-Protocol": {"chat, mqtt"}}, ""},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := TokenFrom(query, c.header); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestSelectSubprotocol(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":                 {nil, ""},
		"empty":                {[]string{""}, ""},
		"alone":                {[]string{"wsproxy.v1"}, "wsproxy.v1"},
		"in a list":            {[]string{"chat, wsproxy.v1 ,bearer.abc"}, "wsproxy.v1"},
		"on line two":          {[]string{"chat", "bearer.abc,wsproxy.v1"}, "wsproxy.v1"},
		"another":              {[]string{"wsproxy.v2"}, ""},
		"longer":               {[]string{"wsproxy.v1x"}, ""},
		"in other case":        {[]string{"WSPROXY.V1"}, ""},
		"token only":           {[]string{"bearer.abc"}, ""},
		"in the token":         {[]string{"bearer.wsproxy.v1"}, ""},
		"no comma":             {[]string{"chat wsproxy.v1"}, ""},
		"with semicolon":       {[]string{"wsproxy.v1;q=1"}, ""},
		"older":                {[]string{"binary"}, "binary"},
		"older in a list":      {[]string{"base64, binary ,bearer.abc"}, "binary"},
		"older on line two":    {[]string{"base64", "binary"}, "binary"},
		"older before ours":    {[]string{"binary, wsproxy.v1"}, "wsproxy.v1"},
		"older after ours":     {[]string{"wsproxy.v1, binary"}, "wsproxy.v1"},
		"older a line before":  {[]string{"binary", "wsproxy.v1"}, "wsproxy.v1"},
		"older in other case":  {[]string{"Binary"}, ""},
		"older within another": {[]string{"binary2, xbinary"}, ""},
		"older in the token":   {[]string{"bearer.binary"}, ""},
	} {
		if got := SelectSubprotocol(http.Header{"Sec-Websocket-Protocol": c.lines}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
