package remote

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
)

// resolve reads a command line, and returns what was said on standard error.
func resolve(t *testing.T, environ []string, line ...string) (Server, []string, string, error) {
	t.Helper()
	var f Flags
	flags := pflag.NewFlagSet("try", pflag.ContinueOnError)
	f.Declare(flags)
	if err := flags.Parse(line); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	server, rest, err := f.Resolve(flags.Args(), cli.Streams{Err: &said, Environ: environ})
	return server, rest, said.String(), err
}

func TestURL(t *testing.T) {
	fromEnv := []string{"WSPROXY_URL=wss://env.example/base"}
	for _, c := range []struct {
		environ, line []string
		url           string
		rest          []string
	}{
		{nil, []string{"wss://a.example", "h", "22"}, "wss://a.example", []string{"h", "22"}},
		{nil, []string{"HTTP://127.0.0.1:8080/x/"}, "HTTP://127.0.0.1:8080/x/", []string{}},
		{fromEnv, []string{"h", "22"}, "wss://env.example/base", []string{"h", "22"}},
		{fromEnv, nil, "wss://env.example/base", []string{}},
		{fromEnv, []string{"tcp:22"}, "wss://env.example/base", []string{"tcp:22"}},
		// An argument goes before a variable.
		{fromEnv, []string{"ws://a.example", "h", "22"}, "ws://a.example", []string{"h", "22"}},
	} {
		server, rest, said, err := resolve(t, c.environ, c.line...)
		if err != nil || server.URL != c.url || !slices.Equal(rest, c.rest) || said != "" || server.Token != nil || server.TLS != nil {
			t.Errorf("%q %q: %+v, %q, %q, %v", c.environ, c.line, server, rest, said, err)
		}
	}
	for want, lines := range map[string][]string{
		"is missing":       {""},
		"must begin with":  {"a.example", "ftp://a.example", "://x", "wss:a.example"},
		"has no host":      {"wss://", "wss:///x", "wss://:80"},
		"has a user":       {"wss://s3cret@a.example", "wss://u:s3cret@a.example"},
		"has a query":      {"wss://a.example/?token=s3cret", "wss://a.example?", "wss://a.example/#s3cret"},
		"the URL can't be": {"wss://a.example:s3cret/", "wss://a.example/%zz"},
	} {
		for _, line := range lines {
			_, _, _, err := resolve(t, nil, strings.Fields(line)...)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "//u") {
				t.Errorf("%q: %v, want %q", line, err, want)
			}
			if _, _, _, ofEnv := resolve(t, []string{"WSPROXY_URL=" + line}); ofEnv == nil || !strings.Contains(ofEnv.Error(), "WSPROXY_URL") {
				t.Errorf("WSPROXY_URL=%q: %v", line, ofEnv)
			}
			if want != "the URL can't be" && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%q: the error repeats it: %v", line, err)
			}
		}
	}
}

func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	server.Config.ErrorLog = nil
	dir := t.TempDir()
	ca, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, content := range map[string][]byte{ca: certificate, empty: []byte("x")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range [][]string{{"--ca", ca}, {"--insecure"}} {
		resolved, _, said, err := resolve(t, nil, append(line, "wss://a.example")...)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: resolved.TLS, DisableKeepAlives: true}}
		if answer, err := client.Get(server.URL); err != nil {
			t.Errorf("%q: %v", line, err)
		} else {
			answer.Body.Close()
		}
		if warned := strings.Contains(said, "nobody is checked"); warned != (line[0] == "--insecure") || strings.Contains(said, "\x1b") {
			t.Errorf("%q: it says %q", line, said)
		}
	}
	for want, line := range map[string][]string{
		"has no certificate":   {"--ca", empty},
		"can't be read":        {"--ca", ca + ".missing"},
		"contradict each othe": {"--ca", ca, "--insecure"},
	} {
		if _, _, said, err := resolve(t, nil, append(line, "wss://a.example")...); err == nil || !strings.Contains(err.Error(), want) || said != "" {
			t.Errorf("%q: %v, said %q", line, err, said)
		}
	}
}

func TestOtherFlags(t *testing.T) {
	server, _, _, err := resolve(t, nil, "--no-resume", "wss://a.example")
	if err != nil || server.Verbose || !server.NoResume {
		t.Errorf("%+v, %v", server, err)
	}
	if server, _, _, _ = resolve(t, nil, "wss://a.example"); server.Verbose || server.NoResume {
		t.Errorf("%+v", server)
	}
}
