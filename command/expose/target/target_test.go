package target

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for given, want := range map[string]Target{
		"3000":                     {Kind: HTTP, Host: "localhost", Port: "3000"},
		":3000":                    {Kind: HTTP, Host: "localhost", Port: "3000"},
		"localhost:03000":          {Kind: HTTP, Host: "localhost", Port: "3000"},
		"[::1]:3000":               {Kind: HTTP, Host: "::1", Port: "3000"},
		"192.168.1.7:80":           {Kind: HTTP, Host: "192.168.1.7", Port: "80"},
		"http://my_box":            {Kind: HTTP, Host: "my_box", Port: "80"},
		"http://[::1]:81/":         {Kind: HTTP, Host: "::1", Port: "81"},
		"HTTPS://localhost:8443":   {Kind: HTTPS, Host: "localhost", Port: "8443"},
		"https://localhost":        {Kind: HTTPS, Host: "localhost", Port: "443"},
		"/srv/site":                {Kind: Folder, Path: "/srv/site"},
		"./site":                   {Kind: Folder, Path: "./site"},
		".":                        {Kind: Folder, Path: "."},
		"./a=b":                    {Kind: Folder, Path: "./a=b"},
		"tcp:22":                   {Kind: TCP, Host: "localhost", Port: "22"},
		"tcp:db.internal:5432":     {Kind: TCP, Host: "db.internal", Port: "5432"},
		"tcp:[fe80::1%eth0]:22":    {Kind: TCP, Host: "fe80::1%eth0", Port: "22"},
		"tcp://localhost:22":       {Kind: TCP, Host: "localhost", Port: "22"},
		"web=3000":                 {Name: "web", Kind: HTTP, Host: "localhost", Port: "3000"},
		"files=/srv/a=b":           {Name: "files", Kind: Folder, Path: "/srv/a=b"},
		"db-1=tcp:127.0.0.1:5432":  {Name: "db-1", Kind: TCP, Host: "127.0.0.1", Port: "5432"},
		"api=https://api.test:444": {Name: "api", Kind: HTTPS, Host: "api.test", Port: "444"},
	} {
		got, err := Parse(given)
		want.Given = strings.TrimPrefix(given, want.Name+"=")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", given, got, err)
		}
	}
}

// Each error names what helps.
func TestParseErrors(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "a target is missing",
		"web=":                         "a target is missing",
		"0":                            "1 to 65535",
		"65536":                        "1 to 65535",
		"localhost":                    "write localhost:3000, or ./localhost",
		"::1":                          "write [::1]:3000",
		"a:b:c":                        "[ADDRESS]:PORT",
		"localhost:http":               "1 to 65535",
		"localhost:+80":                "1 to 65535",
		"site/public":                  "./site/public",
		"ftp://x":                      "http://, https:// and tcp: are",
		"http://x/path":                "no path",
		"http://u:p@x":                 "--basic-auth-file",
		"http://":                      "no host",
		"tcp:":                         "tcp:PORT",
		"tcp://":                       "tcp:PORT",
		"tcp:db":                       "tcp:db:22",
		"Web=3000":                     "a to z",
		strings.Repeat("a", 65) + "=1": "1 to 64",
		"a b:3000":                     "no name of a host",
		"x\n:3000":                     "control characters",
	} {
		if got, err := Parse(given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v", given, got, err)
		}
	}
}

func TestParseAll(t *testing.T) {
	for want, args := range map[string][]string{
		"nothing to expose":  {},
		"web=3000":           {"3000", "api=4000"},
		"have the same name": {"web=3000", "web=4000"},
	} {
		if _, err := ParseAll(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if got, err := ParseAll([]string{"web=3000", "db=tcp:5432"}); err != nil || len(got) != 2 || got[1].Kind != TCP {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever was read can be written and read again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"3000", "web=tcp:[::1]:22", "https://x", "./site", "a=b=c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		got, err := Parse(given)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Fatalf("the sentence has control characters: %q", err)
			}
			return
		}
		again, err := Parse(got.String())
		if err != nil || again.Kind != got.Kind || again.Host != got.Host || again.Port != got.Port || again.Path != got.Path {
			t.Fatalf("%q is %+v, which is read as %+v, %v", given, got, again, err)
		}
	})
}
