package gate

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAdmit(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("hush"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	hashed := strings.Replace(string(hash), "$2a$", "$2y$", 1)
	for name, file := range map[string]string{
		"plain":  "# people\n\nalice:wonder:land\r\nbob:hush\n",
		"hashed": "bob:" + hashed + "\n",
		"both":   "alice:wonder:land\nbob:" + hashed,
	} {
		g, err := Read(strings.NewReader(file), "x\"y")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for authorization, want := range map[string]bool{
			basic("alice:wonder:land"):       name != "hashed",
			basic("bob:hush"):                true,
			"basic " + basic("bob:hush")[6:]: true,
			basic("bob:hush!"):               false,
			basic("bob:"):                    false,
			basic("bob"):                     false,
			basic("carol:hush"):              false,
			basic("alice:hush"):              false,
			basic("bob:" + hashed):           false,
			basic(":"):                       false,
			"":                               false,
			"Bearer x":                       false,
			"Basic ///":                      false,
			basic("bob:hush" + strings.Repeat("x", 2000)): false,
		} {
			for range 2 { // the second time it may be known
				if got := g.Admit(t.Context(), authorization); got != want {
					t.Errorf("%s: %q is %v", name, authorization, got)
				}
			}
		}
		if c := g.Challenge(); c != `Basic realm="xy", charset="UTF-8"` {
			t.Error(c)
		}
	}
}

// What was admitted once is not hashed again.
func TestAdmittedAgain(t *testing.T) {
	hash, _ := bcrypt.GenerateFromPassword([]byte("hush"), bcrypt.MinCost)
	g, err := Read(strings.NewReader("bob:"+string(hash)), "")
	if err != nil {
		t.Fatal(err)
	}
	if !g.Admit(t.Context(), basic("bob:hush")) {
		t.Fatal("not admitted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxHashing {
		g.hashing <- struct{}{}
	}
	if !g.Admit(ended, basic("bob:hush")) || g.Admit(ended, basic("bob:push")) {
		t.Error("it is hashed again, or without waiting")
	}
}

func TestFileErrors(t *testing.T) {
	for file, want := range map[string]string{
		"":                                    "no user",
		"alice":                               "line 1 is not",
		"\nalice:":                            "line 2 is not",
		"a:b\na:c":                            "second time",
		"a:$apr1$salt$hash":                   "htpasswd -B",
		"a:{SHA}abc":                          "htpasswd -B",
		"a:$2y$nonsense":                      "can't be read",
		"a:$2y$31$" + strings.Repeat("a", 53): "at most",
	} {
		if _, err := Read(strings.NewReader(file), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := Open("/nowhere/at/all", ""); err == nil || !strings.Contains(err.Error(), "--basic-auth-file") {
		t.Error(err)
	}
}

// A file that is too long is refused: read in part, its last line would have a shorter
// password.
func TestLongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	text := strings.Repeat("#\n", maxFile/2-5) + "alice:secret that is long\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, "x"); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("it is taken, %v", err)
	}
}
