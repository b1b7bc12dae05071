package netpolicy

import (
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	for _, tt := range []struct {
		patterns string
		yes, no  string // apart by spaces; "''" is the empty string
	}{
		{"*", "https://a.example null '' rubbish http://localhost:1", ""},
		{"https://app.example.com",
			"https://app.example.com https://app.example.com:443 HTTPS://APP.Example.COM",
			"http://app.example.com https://app.example.com:8443 https://app.example.com/ https://app.example.com. https://example.com https://x.app.example.com https://app.example.com@evil.example https://evil.example@app.example.com https://user:pass@app.example.com https://app.example.com?x https://app.example.com#x https://app.example.com\\ https://app.example.com:443:443 https://app.example.com: https://app.example.com:0443 https://app.example.com:+443 https:app.example.com //app.example.com app.example.com https:///app.example.com https://app.example.com, null '' * https://*"},
		{"https://app.example.com:443", "https://app.example.com", "https://app.example.com:444"},
		{"http://app.example.com:8080", "http://app.example.com:8080", "http://app.example.com http://app.example.com:80"},
		{"http://app.example.com:80", "http://app.example.com http://app.example.com:80", "https://app.example.com"},
		{"http://localhost:*",
			"http://localhost http://localhost:80 http://localhost:1 http://localhost:65535 http://LOCALHOST:3000",
			"https://localhost https://localhost:3000 http://localhost:0 http://localhost:65536 http://localhost:* http://localhost: http://localhost:x http://localhost.evil.example http://localhost.evil.example:3000 http://evil.localhost:3000 http://localhost:3000@evil.example http://localhost:3000/ http://127.0.0.1:3000 http://localhost:3000.evil.example"},
		{"https://*.example.com",
			"https://a.example.com https://a.b.example.com https://A.EXAMPLE.com:443 https://_x.example.com",
			"https://example.com https://evilexample.com https://evil-example.com https://a.example.com.evil.example https://.example.com https://a..example.com http://a.example.com https://a.example.com:8443 https://evil.example/.example.com https://evil.example?.example.com https://evil.example#.example.com https://evil.example\\.example.com https://evil.example@a.example.com https://evil.example:443@a.example.com https://evil.example%2F.example.com https://evil.example%00.example.com https://*.example.com https://evil.example:443.example.com https://[::1].example.com https://a.example.com."},
		{"https://*.example.com:8443", "https://a.example.com:8443", "https://a.example.com https://example.com:8443"},
		{"http://*.localhost:*", "http://a.localhost http://a.localhost:3000", "http://localhost:3000 https://a.localhost"},
		{"http://127.0.0.1:*", "http://127.0.0.1:3000 http://127.0.0.1", "http://127.1:3000 http://127.0.0.2 http://[::ffff:127.0.0.1]:3000"},
		{"http://[::1]:*", "http://[::1]:3000 http://[0:0::1]", "http://::1 http://[::1%25lo]:3000"},
		{"http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080", "http://[2001:db8::1] http://[2001:db8::2]:8080"},
		{"chrome-extension://abcdefghijklmnop, capacitor://localhost", "chrome-extension://abcdefghijklmnop capacitor://localhost", "chrome-extension://other capacitor://localhost:1 http://localhost"},
		{"https://a.example, https://b.example", "https://a.example https://b.example", "https://c.example https://a.example,https://b.example"},
		{"app.example.com, [2001:db8::1], 192.0.2.1:81,localhost",
			"https://app.example.com http://app.example.com https://app.example.com:443 http://[2001:db8::1] https://[2001:db8::1] http://192.0.2.1:81 https://192.0.2.1:81 http://localhost https://localhost",
			"http://app.example.com:443 ws://app.example.com app://app.example.com https://x.app.example.com http://192.0.2.1 http://localhost:3000 app.example.com"},
		{"localhost:*,*.example.com/", "http://localhost:3000 https://localhost http://a.example.com https://a.b.example.com", "https://example.com app://localhost"},
		{"https://app.example.com/, http://localhost:*/", "https://app.example.com http://localhost:3000", "https://app.example.com/ http://localhost:3000/"},
		{"app://-, tauri://localhost, vscode-webview://1QGH2_k5, moz-extension://0b1c2d3e-0000-4000-8000-0123456789ab/",
			"app://- APP://- tauri://localhost vscode-webview://1qgh2_k5 moz-extension://0b1c2d3e-0000-4000-8000-0123456789ab",
			"app://-- app:// app://x app://-/ app://-:1 app://-@- https://- tauri://- http://localhost moz-extension://0b1c2d3e-0000-4000-8000-0123456789ac file:// null"},
		{"file://", "file:// FILE://", "file:/// file:///etc/x file://localhost null '' app://"},
		{"app://*.example.com", "app://a.example.com", "app://-.example.com app://a-.example.com app://example.com"},
		{",https://a.example, ,", "https://a.example", "https://b.example"},
		{"https://a.example,*", "https://c.example null", ""},
		{"https://xn--bcher-kva.example", "https://xn--bcher-kva.example", "https://bücher.example"},
	} {
		o, err := ParseOrigins(tt.patterns)
		if err != nil {
			t.Errorf("%q: %v", tt.patterns, err)
			continue
		}
		for _, s := range strings.Fields(tt.yes) {
			if s = strings.Trim(s, "'"); !o.Allowed(s) {
				t.Errorf("%q doesn't allow %q", tt.patterns, s)
			}
		}
		for _, s := range strings.Fields(tt.no) {
			if s = strings.Trim(s, "'"); o.Allowed(s) {
				t.Errorf("%q allows %q", tt.patterns, s)
			}
		}
		for _, s := range []string{"https://a.example https://b.example", " https://app.example.com", "https://app.example.com\n", "https://app.example.com\x00", "http://localhost:3000\t"} {
			if o.Allowed(s) && !o.Any() {
				t.Errorf("%q allows %q", tt.patterns, s)
			}
		}
	}
	var none Origins
	if none.Any() || none.Allowed("https://a.example") || none.Allowed("") {
		t.Error("the zero value allows something")
	}
}

func TestParseOriginsRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "the list names nothing",
		" , ":                         "the list names nothing",
		"null":                        `only "*" lets it in`,
		"none":                        "must begin with a scheme",
		"https":                       "must begin with a scheme",
		"//a.example":                 "must begin with a scheme",
		"a.example/x":                 "must begin with a scheme",
		"https:a.example":             "port is not a number",
		"a.*.example":                 "may stand alone",
		"app://*.-":                   "no name",
		"app://":                      "host is missing",
		"https://-":                   "hyphen",
		"app://a/b":                   `without a path or "/"`,
		"https://a.example//":         `without a path or "/"`,
		"https://":                    "host is missing",
		"https://*":                   "may stand alone",
		"https://*.":                  "host is missing",
		"*://a.example":               "may stand alone",
		"https://a.*.example":         "may stand alone",
		"https://a*.example":          "may stand alone",
		"https://*.*.example":         "may stand alone",
		"http://localhost:30*":        "may stand alone",
		"http://localhost:80:*":       "two ports",
		"http://localhost:0":          "port is not a number",
		"http://localhost:":           "port is not a number",
		"http://localhost:080":        "port is not a number",
		"https://a.example/x":         `without a path or "/"`,
		"https://a.example?x":         `without a path or "/"`,
		"https://user@a.example":      "must not have a user",
		"https://a.example.":          "ends with a dot",
		"https://a..example":          "empty label",
		"https://a b.example":         "space or control character",
		"https://a.example https://b": "without a path",
		"https://bücher.example":      "xn-- form",
		"https://127.1":               "looks like an address",
		"https://*.192.0.2.1":         "an address has no subdomains",
		"http://::1":                  "needs brackets",
		"http://[::1%lo]":             "must not have a zone",
		"1http://a.example":           "scheme is malformed",
		"ht tp://a.example":           "scheme is malformed",
		"://a.example":                "scheme is malformed",
		"https://" + strings.Repeat("a.", 200) + "example": "too long",
	} {
		_, err := ParseOrigins(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseOrigins(%.60q): got %v, want %q", in, err, want)
		}
	}
}

// A token's claim is compared byte for byte with what browsers write.
func TestParseExactOrigins(t *testing.T) {
	for in, want := range map[string]string{
		"https://App.example.com":                          "https://app.example.com",
		"https://a.example/, ,http://localhost:3000,":      "https://a.example http://localhost:3000",
		"https://b.example:443,http://c.example:80":        "https://b.example http://c.example",
		"https://d.example:80":                             "https://d.example:80",
		"app.example.com":                                  "http://app.example.com https://app.example.com",
		"http://[2001:DB8:0::1]:8080":                      "http://[2001:db8::1]:8080",
		"app://-,chrome-extension://abc,tauri://localhost": "app://- chrome-extension://abc tauri://localhost",
	} {
		got, err := ParseExactOrigins(in)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q became %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", ",", "*", "http://localhost:*", "https://*.example.com", "null", "https://a.example/x", "https://a.example?x", "client_id"} {
		if got, err := ParseExactOrigins(in); err == nil {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// The error goes to a terminal or a log.
func TestOriginErrorsKeepPasswords(t *testing.T) {
	for _, in := range []string{"https://user:secret@a.example", "user:secret@a.example"} {
		if _, err := ParseOrigins(in); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error is %v", in, err)
		}
	}
}

func BenchmarkOriginsAllowed(b *testing.B) {
	o, err := ParseOrigins("https://app.example.com, http://localhost:*, https://*.example.com")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		o.Allowed("https://a.b.example.com")
	}
}
