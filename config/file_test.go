package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settingsFile writes a file of settings, and returns the setting that names it.
func settingsFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wsproxy.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "CONFIG_FILE=" + path
}

func TestFileLines(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                {},
		"\n \n# PORT=1\n  # PORT=2\n":     {},
		"PORT=9000":                       {"PORT=9000"},
		"\ufeffPORT=9000\r\nBIND=::1\r\n": {"PORT=9000", "BIND=::1"},
		"  PORT =  9000  \n":              {"PORT=9000"},
		`JWT_ISSUER="a b"`:                {"JWT_ISSUER=a b"},
		`JWT_ISSUER='a"b'`:                {`JWT_ISSUER=a"b`},
		`JWT_ISSUER=a"b"`:                 {`JWT_ISSUER=a"b"`},
		`JWT_ISSUER=""`:                   {"JWT_ISSUER="},
		`JWT_ISSUER="a\n$HOME`:            nil,
		`JWT_ISSUER="`:                    nil,
		"PORT=9000 # no comment":          {"PORT=9000 # no comment"},
		`JWT_ISSUER=a=\n${HOME}`:          {`JWT_ISSUER=a=\n${HOME}`},
		"PORT=":                           {"PORT="},
		"PORT":                            nil,
		"export PORT=9000":                nil,
		"=9000":                           nil,
		"9PORT=1":                         nil,
		"PO RT=1":                         nil,
		"PORT=1\nBIND=::1\nPORT=2":        nil,
		"PORT=1\x00":                      nil,
		"JWT_ISSUER=\xff":                 nil,
		"CONFIG_FILE=/etc/other":          nil,
	} {
		pairs, err := parseFile(text)
		if (err != nil) != (want == nil) || !slices.Equal(pairs, want) {
			t.Errorf("%q: %q, %v", text, pairs, err)
		}
	}
}

// Each line that can't be read is told by its number, and shows no value.
func TestFileErrors(t *testing.T) {
	_, err := ReadEnvironment([]string{settingsFile(t, "PORT=1\ns3cret\n\nPORT=s3cret\nBIND='s3cret\nJWT_ISSUER=s3cret\x01\nCONFIG_FILE=s3cret\n")})
	if err == nil {
		t.Fatal("it is read")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{"can't be read:", "line 2: it must be NAME=value", "line 4: PORT is in line 1 already", "line 5: BIND has a quote", "line 6: JWT_ISSUER has control", "line 7: a file can't name"}
	if !slices.EqualFunc(lines, want, strings.Contains) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error is %v", err)
	}
	for name, environ := range map[string]string{
		"no such file": "CONFIG_FILE=/no/such/file",
		"a directory":  "CONFIG_FILE=" + t.TempDir(),
		"too long":     settingsFile(t, strings.Repeat("# a comment\n", maxFile/12+1)),
	} {
		if _, err := ReadEnvironment([]string{environ}); err == nil || !strings.HasPrefix(err.Error(), "CONFIG_FILE can't be read: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadEnvironment([]string{settingsFile(t, strings.Repeat("#", maxFile))}); err != nil {
		t.Errorf("one of the full size: %v", err)
	}
}

// What the environment sets comes first. Set to nothing there it is the file's.
func TestFileBehindTheEnvironment(t *testing.T) {
	file := settingsFile(t, "PORT=9000\nBIND=::1\nLOG_LEVEL=warn\nLOG_FORMAT=text\nGOMEMLIMIT=1GiB\nMAX_CONN_PER_IP=3\nEMPTY=\n")
	e, err := ReadEnvironment([]string{"PORT=9001", "BIND=", "LOG_FORMAT= text ", file})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(e.Pairs)
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 9001 || c.Bind != "::1" || c.LogLevel.String() != "WARN" || c.LogFormat != "text" || "CONFIG_FILE="+c.ConfigFile != file {
		t.Errorf("it is %+v", c)
	}
	if !slices.Equal(e.Shadowed, []string{"PORT"}) || !slices.Equal(e.Unknown, []string{"GOMEMLIMIT"}) {
		t.Errorf("shadowed are %q, unknown %q", e.Shadowed, e.Unknown)
	}
	if want := []Lookalike{{"MAX_CONN_PER_IP", "MAX_CONNS_PER_IP"}}; !slices.Equal(e.Misspelled, want) || c.Lookalikes != nil {
		t.Errorf("misspelled are %v in the file, %v in the environment", e.Misspelled, c.Lookalikes)
	}
	var page strings.Builder
	WriteHelp(&page, []string{file})
	if !strings.Contains(page.String(), `= "warn"`) || strings.Contains(page.String(), "would end the start") {
		t.Errorf("--help doesn't show what the file says:\n%s", &page)
	}
	if err := os.WriteFile(c.ConfigFile, []byte("BIND=127.0.0.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err = e.Again(); err != nil || !slices.Contains(e.Pairs, "BIND=127.0.0.1") || slices.Contains(e.Pairs, "LOG_LEVEL=warn") || e.Shadowed != nil || e.Unknown != nil {
		t.Errorf("read again it is %+v, %v", e, err)
	}
}

// Whatever is in the file: no panic, and what is read can be written again.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{"PORT=1\n# x\n\nBIND = '::1'\r\n", "A=\"b", "=\x00", "export A=1", "\ufeffA='\"'\nA=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pairs, err := parseFile(text)
		if err != nil {
			if pairs != nil {
				t.Errorf("with %v there are %q", err, pairs)
			}
			return
		}
		var again strings.Builder
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			if !isName(name) || value != strings.TrimSpace(value) || strings.ContainsAny(value, "\n\x00") {
				t.Fatalf("%q comes of %q", pair, text)
			}
			again.WriteString(name + `="` + value + "\"\n")
		}
		if same, err := parseFile(again.String()); err != nil || !slices.Equal(same, pairs) {
			t.Errorf("%q, written again, is %q, %v", pairs, same, err)
		}
	})
}
