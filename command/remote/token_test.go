//go:build unix

package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsproxy/auth"
	"wsproxy/command/cli"
)

// path is what a shell needs of the environment.
func path() string { return "PATH=" + os.Getenv("PATH") }

func TestWhereATokenComesFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(" of-file \r\nsecond\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := []string{path(), "WSPROXY_TOKEN=of-variable", "WSPROXY_TOKEN_COMMAND=echo of-command-variable"}
	for _, c := range []struct {
		environ, line []string
		want          string
	}{
		{both, []string{"--token-file", file}, "of-file"},
		{both, []string{"--token-command", "echo of-command; echo second"}, "of-command"},
		{both, nil, "of-variable"},
		{both[:1:1], []string{"--token-command", "echo \"a'b\" | tr -d \"'\""}, "ab"},
		{[]string{path(), both[2]}, nil, "of-command-variable"},
	} {
		server, _, _, err := resolve(t, c.environ, append(c.line, "wss://a.example")...)
		if err != nil || server.Token == nil {
			t.Errorf("%q %q: %v", c.environ, c.line, err)
			continue
		}
		if got, err := server.Token(t.Context()); got != c.want || err != nil {
			t.Errorf("%q %q: %q, %v", c.environ, c.line, got, err)
		}
	}
	if _, _, _, err := resolve(t, nil, "--token-file", file, "--token-command", "x", "wss://a.example"); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("two at once: %v", err)
	}
}

// A file and a command are asked anew each time.
func TestTokensAreFresh(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for _, line := range [][]string{{"--token-file", file}, {"--token-command", "cat '" + file + "'"}} {
		server, _, _, err := resolve(t, []string{path()}, append(line, "wss://a.example")...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first", "second"} {
			if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := server.Token(t.Context()); got != want || err != nil {
				t.Errorf("%q: %q, %v; want %q", line, got, err, want)
			}
		}
	}
}

// No error has what was read in it, and each says where to look.
func TestTokensThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"blank": "s3cret s3cret", "control": "s3cret\x01", "nothing": "\ns3cret", "long": strings.Repeat("s3cret", auth.MaxTokenBytes),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, line := range [][]string{{"--token-file", file}, {"--token-command", "cat " + file}} {
			server, _, _, err := resolve(t, []string{path()}, append(line, "wss://a.example")...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := server.Token(t.Context())
			if got != "" || err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), line[0]) {
				t.Errorf("%s of %s: %q, %v", name, line[0], got, err)
			}
		}
	}
	if _, _, _, err := resolve(t, []string{"WSPROXY_TOKEN=s3cret s3cret"}, "wss://a.example"); err == nil || !strings.Contains(err.Error(), "WSPROXY_TOKEN") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a variable: %v", err)
	}
	server, _, _, err := resolve(t, nil, "--token-file", filepath.Join(dir, "missing"), "wss://a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestTokenCommandFails(t *testing.T) {
	var said strings.Builder
	ask := func(ctx context.Context, line string, timeout time.Duration) error {
		_, err := tokenCommand{line, "WSPROXY_TOKEN_COMMAND", timeout, cli.Streams{Err: &said, Environ: []string{path()}}}.ask(ctx)
		return err
	}
	if err := ask(t.Context(), "echo s3cret; echo log in first >&2; exit 3", time.Minute); err == nil || !strings.Contains(err.Error(), "exit status 3") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("it fails: %v", err)
	}
	if said.String() != "log in first\n" {
		t.Errorf("what it says to people is %q", &said)
	}
	if err := ask(t.Context(), "no-such-command-1", time.Minute); err == nil || !strings.Contains(err.Error(), "exit status 127") {
		t.Errorf("there is none: %v", err)
	}
	if err := ask(t.Context(), "yes s3cret", time.Minute); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("it never stops: %v", err)
	}
	began := time.Now()
	if err := ask(t.Context(), "sleep 100", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("it never ends: %v", err)
	}
	// A child that outlives its shell keeps the output open.
	if err := ask(t.Context(), "sleep 4 & echo; wait", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("its child never ends: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("that took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, "echo a", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

// What it asks on standard input is not what a session carries.
func TestTokenCommandHasNoInput(t *testing.T) {
	server, _, _, err := resolve(t, []string{path(), "WSPROXY_TOKEN_COMMAND=cat; echo token"}, "wss://a.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := server.Token(t.Context()); got != "token" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
