package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A server whose keys are made by keygen, its tokens by token: authentication
// without an identity provider.

// aKeyChange is how long a change of a key set on disk may take (section 5).
const aKeyChange = 10 * time.Second

// must runs a command that has to succeed, and returns what it prints.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := runCommand(t, nil, args...)
	if code != 0 || stderr != "" {
		t.Fatalf("%q: exit code %d, %s", args, code, stderr)
	}
	return stdout
}

// keysIn makes keys and returns the line of the environment that is told.
func keysIn(t *testing.T, dir string) string {
	t.Helper()
	said := must(t, "keygen", dir)
	line := regexp.MustCompile(`CLERK_JWKS_URL=file:///\S+`).FindString(said)
	if want := "CLERK_JWKS_URL=file://" + dir + "/jwks.json"; line != want {
		t.Fatalf("keygen tells %q, want %q:\n%s", line, want, said)
	}
	return line
}

func tokenBy(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	return strings.TrimSpace(must(t, append([]string{"token", "--key", filepath.Join(dir, "private.pem"), "--sub", "alice"}, flags...)...))
}

// within waits until a token is let in, or refused, as long as a change may take.
func within(t *testing.T, s *server, path, token string, want bool, what string) {
	t.Helper()
	eventually(t, aKeyChange, what, unhurried(func() bool {
		in, _ := accepts(t, s, path, token)
		return in == want
	}))
}

func TestKeysWithoutAnIdentityProvider(t *testing.T) {
	t.Parallel()
	dir, foreign := filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "foreign")
	s := start(t, allowLoopback(), keysIn(t, dir))
	keysIn(t, foreign)
	path := relayPath(echoServer(t))
	first := tokenBy(t, dir, "--ttl", "1h")
	if in, _ := accepts(t, s, path, first); !in {
		t.Error("a good token is refused")
	}
	if in, _ := accepts(t, s, path, tokenBy(t, foreign)); in {
		t.Error("a token of other keys is let in")
	}
	if r := ask(t, s, "GET", path); r.status != 401 {
		t.Errorf("no token: status %d", r.status)
	}
	expired := tokenBy(t, dir, "--ttl", "1s")
	relay := open(t, s, path+"&token="+first)
	echoed(t, relay, "hello")

	must(t, "keygen", "--add", dir)
	second := tokenBy(t, dir)
	within(t, s, path, second, true, "the new key counts")
	if in, _ := accepts(t, s, path, first); !in {
		t.Error("a token of the old key is refused, which was kept")
	}
	set := filepath.Join(dir, "jwks.json")
	whole, err := os.ReadFile(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(set, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, "authentication keys could not be read")
	for _, token := range []string{first, second} {
		if in, _ := accepts(t, s, path, token); !in {
			t.Error("a file that is half written withdraws a key")
		}
	}
	if err := os.WriteFile(set, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "keygen", "--prune", dir)
	within(t, s, path, first, false, "the old key is withdrawn")
	if in, _ := accepts(t, s, path, second); !in {
		t.Error("the key that is left is refused")
	}
	eventually(t, patience, "a token expires", unhurried(func() bool {
		in, _ := accepts(t, s, path, expired)
		return !in
	}))
	if lines := s.logLines("authentication keys could not be read"); len(lines) != 1 {
		t.Errorf("%d warnings, want one: %v", len(lines), lines)
	}
	echoed(t, relay, "still there")
	goodbye(t, relay)
	for _, secret := range []string{first, second, "PRIVATE KEY"} {
		if strings.Contains(s.log(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// Without the file the server starts, and lets in nobody until it is there.
func TestKeyFileIsNotThereAtTheStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	path := relayPath(echoServer(t))
	s := start(t, allowLoopback(), "CLERK_JWKS_URL=file://"+dir+"/jwks.json")
	if line := s.waitLog(t, "every token is refused"); line["level"] != "WARN" || !strings.Contains(line["error"].(string), "no such file") {
		t.Errorf("the warning is %v", line)
	}
	keysIn(t, dir)
	within(t, s, path, tokenBy(t, dir), true, "the keys are there")
	for _, value := range []string{"file://host" + dir, "file:keys/jwks.json", "file://" + dir + "/"} {
		code, _, stderr := runCommand(t, []string{"CLERK_JWKS_URL=" + value})
		if code != 2 || !strings.Contains(stderr, "expected file:///") {
			t.Errorf("%s: exit code %d, %s", value, code, stderr)
		}
	}
}

// Two commands are a server with authentication.
func TestMakeRunWithKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	s := makeRun(t, keysIn(t, dir))
	path := relayPath(echoServer(t))
	if in, _ := accepts(t, s, path, tokenBy(t, dir)); !in {
		t.Error("a good token is refused")
	}
	if r := ask(t, s, "GET", path); r.status != 401 {
		t.Errorf("no token: status %d", r.status)
	}
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	good := []string{keysIn(t, dir), "BIND=", "PORT=8080"}
	env := func(more ...string) []string { return append(more, good...) }
	for _, c := range []struct {
		env  []string
		code int
		says string
	}{
		{env(), 0, "No warnings."},
		{env("MAX_CONN_PER_IP=s3cret"), 1, "MAX_CONNS_PER_IP"},
		{env("BLOCKED_TARGETS=none"), 1, "BLOCKED_TARGETS"},
		{nil, 1, "ALLOWED_ORIGINS"},
		{[]string{"CLERK_JWKS_URL=file://" + dir + "/missing.json"}, 1, "no such file"},
		{[]string{"CLERK_JWKS_URL=s3cret"}, 2, "can't be read"},
	} {
		args := []string{"check", "--accept", "TUNNEL_BUFFER_TOTAL"} // of the machine that runs this
		code, stdout, stderr := runCommand(t, c.env, args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) || strings.Contains(stdout, "s3cret") {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s%s", c.env, code, c.code, c.says, stdout, stderr)
		}
		code, stdout, _ = runCommand(t, c.env, append(args, "--json")...)
		var report struct{ Status int }
		if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != c.code || report.Status != code {
			t.Errorf("%q: exit code %d, %v:\n%s", c.env, code, err, stdout)
		}
	}
}

func TestCommandsHaveHelp(t *testing.T) {
	t.Parallel()
	list := must(t, "--help")
	for _, name := range []string{"keygen", "token", "check"} {
		if !strings.Contains(list, "\n  wsproxy "+name) {
			t.Errorf("--help doesn't list %s", name)
		}
		page := must(t, name, "--help")
		if !strings.Contains(page, "\nExamples:\n") || must(t, "help", name) != page {
			t.Errorf("%s --help is:\n%s", name, page)
		}
		if code, stdout, stderr := runCommand(t, nil, name, "--no-such-flag"); code != 2 || stdout != "" || !strings.Contains(stderr, name+" --help") {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
}
