package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/auth"
	"wsproxy/command/cli"
)

// run runs a command of the room.
func run(t *testing.T, c cli.Command, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	status = cli.Execute(t.Context(), c, args, cli.Streams{Out: &out, Err: &err})
	return status, out.String(), err.String()
}

// good runs a command that must not fail, and returns what it prints.
func good(t *testing.T, c cli.Command, args ...string) string {
	t.Helper()
	status, stdout, stderr := run(t, c, args...)
	if status != 0 {
		t.Fatalf("%s %q: status %d, %s", c.Name, args, status, stderr)
	}
	return stdout
}

// kids are the names of the keys that a server would take from a directory.
func kids(t *testing.T, dir string) []string {
	t.Helper()
	found, err := auth.ReadKeyFile(fileURL(filepath.Join(dir, publicFile)))
	if err != nil || found.Ignored != 0 || found.Private {
		t.Fatalf("%+v, %v", found, err)
	}
	return found.Keys
}

// verify asks the server's own verifier, with the keys of a directory.
func verify(t *testing.T, dir, token string, changes ...func(*auth.Config)) (auth.Identity, error) {
	t.Helper()
	config := auth.Config{JWKSURL: fileURL(filepath.Join(dir, publicFile)), Logger: slog.New(slog.DiscardHandler)}
	for _, change := range changes {
		change(&config)
	}
	v, err := auth.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return v.Verify(t.Context(), token)
}

func tokenOf(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	return strings.TrimSpace(good(t, Token, append([]string{"--key", filepath.Join(dir, privateFile), "--sub", "alice"}, flags...)...))
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestKeygen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", "keys")
	said := good(t, Keygen, dir)
	for file, mode := range map[string]os.FileMode{privateFile: 0o600, publicFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("%s: %v, %v; want mode %v", file, info, err, mode)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("there are %v, %v", files, err)
	}
	url := fileURL(filepath.Join(dir, publicFile))
	for _, want := range []string{"\n  CLERK_JWKS_URL=" + url + "\n", "\n  wsproxy token --key '" + filepath.Join(dir, privateFile) + "' --sub alice --ttl 24h\n", "WSPROXY_TOKEN_COMMAND='", kids(t, dir)[0]} {
		if !strings.Contains(said, want) {
			t.Errorf("it doesn't say %q:\n%s", want, said)
		}
	}
	if strings.Contains(read(t, filepath.Join(dir, publicFile)), `"d"`) {
		t.Error("the private key is in the set")
	}
	key, err := readKey(filepath.Join(dir, privateFile))
	if err != nil || key.N.BitLen() != newKeyBits {
		t.Errorf("the key has %v, %v", key, err)
	}
	if identity, err := verify(t, dir, tokenOf(t, dir)); err != nil || identity.Subject != "alice" {
		t.Errorf("its token: %v, %v", identity, err)
	}
}

// The example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	key := publicKey{Kty: "RSA", E: "AQAB", N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}
	if got := key.thumbprint(); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("it is %q", got)
	}
}

// Nothing is overwritten, whichever of the two files is there, unless it is asked for.
func TestKeygenOverwritesNothing(t *testing.T) {
	for _, file := range []string{privateFile, publicFile} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := run(t, Keygen, dir)
		if status != 1 || stdout != "" || !strings.Contains(stderr, "--force") || !strings.Contains(stderr, file) {
			t.Errorf("%s is there: status %d, %q, %q", file, status, stdout, stderr)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 || read(t, filepath.Join(dir, file)) != "precious" {
			t.Errorf("%s was there, and now: %v, %v", file, files, err)
		}
		good(t, Keygen, "--force", dir)
		if _, err := verify(t, dir, tokenOf(t, dir)); err != nil {
			t.Errorf("overwritten: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	set := filepath.Join(dir, publicFile)
	good(t, Keygen, "--add", dir) // the first one needs no other word
	first, old, oldPrivate := kids(t, dir)[0], tokenOf(t, dir), read(t, filepath.Join(dir, privateFile))

	// What somebody else has put there stays.
	if err := os.WriteFile(set, []byte(strings.Replace(read(t, set), `"keys"`, `"note": {"a": [1]}, "keys"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	said := good(t, Keygen, "--add", dir)
	now := kids(t, dir)
	if len(now) != 2 || !slices.Contains(now, first) || !strings.Contains(read(t, set), `"note"`) {
		t.Errorf("the keys are %q, the set is %s", now, read(t, set))
	}
	kept := filepath.Join(dir, "private-"+first[:shownKid]+".pem")
	if read(t, kept) != oldPrivate || !strings.Contains(said, kept) {
		t.Errorf("the old key is not kept, or not told: %s", said)
	}
	fresh := tokenOf(t, dir)
	for name, token := range map[string]string{"old": old, "new": fresh} {
		if _, err := verify(t, dir, token); err != nil {
			t.Errorf("the %s token: %v", name, err)
		}
	}
	if said := good(t, Keygen, "--prune", dir); !strings.Contains(said, first) {
		t.Errorf("it doesn't tell what it takes out: %s", said)
	}
	if _, err := verify(t, dir, fresh); err != nil {
		t.Errorf("the new token is refused: %v", err)
	}
	if _, err := verify(t, dir, old); err == nil {
		t.Error("the old token is good still")
	}
}

func TestKeygenLeavesWhatItDoesNotUnderstand(t *testing.T) {
	for name, content := range map[string][2]string{
		"no set":      {publicFile, "{"},
		"no keys":     {publicFile, "{}"},
		"a list":      {publicFile, "[]"},
		"keys no lis": {publicFile, `{"keys":{}}`},
		"no key":      {privateFile, "x"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, content[0])
		if err := os.WriteFile(path, []byte(content[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, flag := range []string{"--add", "--prune"} {
			if status, _, stderr := run(t, Keygen, flag, dir); status != 1 || stderr == "" {
				t.Errorf("%s, %s: status %d, %q", name, flag, status, stderr)
			}
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 || read(t, path) != content[1] {
			t.Errorf("%s: there is %v now", name, files)
		}
	}
}

func TestKeygenArguments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	for _, args := range [][]string{{}, {""}, {dir, dir}, {"--add", "--force", dir}, {"--add", "--prune", dir}, {"--prune", "--force", dir}} {
		if status, _, stderr := run(t, Keygen, args...); status != 2 || !strings.Contains(stderr, "--help") {
			t.Errorf("%q: status %d, %q", args, status, stderr)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was made")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := run(t, Keygen, file); status != 1 || !strings.Contains(stderr, "directory") {
		t.Errorf("a file: status %d, %q", status, stderr)
	}
}

func TestTokenClaims(t *testing.T) {
	dir := t.TempDir()
	good(t, Keygen, dir)
	token := tokenOf(t, dir, "--ttl", "2d", "--iss", "https://me.example", "--aud", "wsproxy", "--azp", "https://app.example")
	parts := strings.Split(token, ".")
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		if err := json.Unmarshal(decode(t, parts[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	if header["alg"] != "RS256" || header["kid"] != kids(t, dir)[0] {
		t.Errorf("the header is %v", header)
	}
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	if age := time.Since(time.Unix(int64(issued), 0)); age < 0 || age > time.Minute || expires-issued < 172800 || expires-issued > 172801 {
		t.Errorf("the claims are %v", claims)
	}
	if _, err := verify(t, dir, token, func(c *auth.Config) {
		c.Issuer, c.Audience, c.AuthorizedParties = "https://me.example", "wsproxy", []string{"https://app.example"}
	}); err != nil {
		t.Errorf("it is refused: %v", err)
	}
	other := t.TempDir()
	good(t, Keygen, other)
	if _, err := verify(t, other, token); err == nil {
		t.Error("another's keys accept it")
	}
}

func decode(t *testing.T, segment string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTokenArguments(t *testing.T) {
	dir := t.TempDir()
	good(t, Keygen, dir)
	key := []string{"--key", filepath.Join(dir, privateFile)}
	sub := []string{"--sub", "alice"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{sub, "--key is missing"},
		{key, "--sub is missing"},
		{slices.Concat(key, []string{"--sub", "a\nb"}), "printable"},
		{slices.Concat(key, []string{"--sub", strings.Repeat("a", 257)}), "256 bytes"},
		{slices.Concat(key, sub, []string{"--ttl", "0s"}), "from 1s to 366d"},
		{slices.Concat(key, sub, []string{"--ttl", "999ms"}), "from 1s to 366d"},
		{slices.Concat(key, sub, []string{"--ttl", "-1h"}), "from 1s to 366d"},
		{slices.Concat(key, sub, []string{"--ttl", "367d"}), "from 1s to 366d"},
		{slices.Concat(key, sub, []string{"--ttl", "8785h"}), "from 1s to 366d"},
		{slices.Concat(key, sub, []string{"--ttl", "24"}), "such as 15m, 24h or 30d"},
		{slices.Concat(key, sub, []string{"--ttl", "1.5d"}), "such as 15m, 24h or 30d"},
		{slices.Concat(key, sub, []string{"--ttl", "99999999d"}), "such as 15m, 24h or 30d"},
		{slices.Concat(key, sub, []string{"more"}), "too much"},
	} {
		if status, stdout, stderr := run(t, Token, c.args...); status != 2 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: status %d, %q, %q; want %q", c.args, status, stdout, stderr, c.want)
		}
	}
	if status, stdout, stderr := run(t, Token, slices.Concat(key, sub, []string{"--iss", strings.Repeat("x", auth.MaxTokenBytes)})...); status != 1 || stdout != "" || !strings.Contains(stderr, "8192 bytes") {
		t.Errorf("a long one: status %d, %q, %q", status, stdout, stderr)
	}
	if _, err := verify(t, dir, tokenOf(t, dir, "--ttl", "1s")); err != nil {
		t.Errorf("the shortest: %v", err)
	}
	if _, err := verify(t, dir, tokenOf(t, dir, "--ttl", "366d")); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

// Keys of other tools are taken; what is none is told apart.
func TestForeignKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return block("PRIVATE KEY", der)
	}
	for name, c := range map[string]struct{ content, want string }{
		"PKCS #1":           {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(plain)), ""},
		"PKCS #8":           {"comment\n" + block("CERTIFICATE", []byte("x")) + pkcs8(plain), ""},
		"small":             {pkcs8(small), "1024 bits"},
		"of a curve":        {pkcs8(curve), "no RSA key"},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted"},
		"encrypted, old":    {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AA\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "encrypted"},
		"broken":            {block("PRIVATE KEY", []byte("x")), "can't be read"},
		"a public key":      {block("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&plain.PublicKey)), "no private key"},
		"nothing":           {"", "no private key"},
		"longer than a key": {strings.Repeat("x", maxSetBytes+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := run(t, Token, "--key", file, "--sub", "alice")
			if c.want == "" && (status != 0 || stderr != "") || c.want != "" && (status != 1 || stdout != "" || !strings.Contains(stderr, c.want)) {
				t.Errorf("status %d, %q, %q; want %q", status, stdout, stderr, c.want)
			}
		})
	}
	if status, _, stderr := run(t, Token, "--key", filepath.Join(t.TempDir(), "missing"), "--sub", "a"); status != 1 || !strings.Contains(stderr, "can't be read") {
		t.Errorf("missing: status %d, %q", status, stderr)
	}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestAKeyThatOthersReadIsTold(t *testing.T) {
	dir := t.TempDir()
	good(t, Keygen, dir)
	file := filepath.Join(dir, privateFile)
	for mode, told := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := run(t, Token, "--key", file, "--sub", "alice")
		if runtime.GOOS != "windows" && (status != 0 || stdout == "" || strings.Contains(stderr, "chmod 600") != told) {
			t.Errorf("mode %v: status %d, %q", mode, status, stderr)
		}
	}
}

func TestQuoteAndURL(t *testing.T) {
	for text, want := range map[string]string{"/a/b-c.pem": "/a/b-c.pem", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, `C:\keys`: `'C:\keys'`} {
		if got := quote(text); got != want {
			t.Errorf("%q is quoted as %s, want %s", text, got, want)
		}
	}
	if got := fileURL("/a b/c#d?e%f"); got != "file:///a%20b/c%23d%3Fe%25f" {
		t.Errorf("the URL is %s", got)
	}
}
