package gate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Bounds of what is read and kept.
const (
	maxFile = 1 << 20 // of the file with names and passwords
	// maxAuthorization bounds what a stranger sends: bcrypt looks at 72 bytes of a
	// password, and names are short.
	maxAuthorization = 1 << 10
	// maxAdmitted bounds the fields that are known to be right. There are as many
	// as users in use, whose passwords are hashed once and not with each request.
	maxAdmitted = 256
	// maxHashing is how many passwords are hashed at once. It takes a twentieth of
	// a second of a core and more, and strangers choose when.
	maxHashing = 2
	// maxCost is that of bcrypt which a request could wait for.
	maxCost = 16
)

// A Gate knows the names and passwords of a file. It may be used by many at once.
type Gate struct {
	realm string
	key   [32]byte          // of the sums below; made at start, so that nobody can prepare for them
	users map[string][]byte // the sum of a password that is in clear, or a hash of bcrypt
	// decoy is what a name that there is none of is judged by, so that it takes as
	// long as one that there is.
	decoy   []byte
	hashing chan struct{}

	mu       sync.Mutex
	admitted map[[sha256.Size]byte]struct{} // sums of fields that are right
}

// Open reads a file of names and passwords. realm is what browsers show.
func Open(path, realm string) (*Gate, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the file of --basic-auth-file can't be read: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the file of --basic-auth-file can't be read: %w", err)
	}
	if len(raw) > maxFile { // cut, its last line would have another password
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	g, err := Read(bytes.NewReader(raw), realm)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Read reads lines of `user:password`, or `user:$2y$…` as `htpasswd -B` writes them.
// Empty lines and those that begin with # are none.
func Read(r io.Reader, realm string) (*Gate, error) {
	g := &Gate{
		realm: realm, users: make(map[string][]byte),
		hashing: make(chan struct{}, maxHashing), admitted: make(map[[sha256.Size]byte]struct{}),
	}
	_, _ = rand.Read(g.key[:])
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, password, ok := strings.Cut(line, ":")
		if !ok || user == "" || password == "" {
			return nil, fmt.Errorf("line %d is not of the form user:password", n)
		}
		if _, twice := g.users[user]; twice {
			return nil, fmt.Errorf("line %d names a user for the second time", n)
		}
		if err := g.add(user, password); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("it can't be read: %w", err)
	}
	if len(g.users) == 0 {
		return nil, fmt.Errorf("there is no user in it: write lines of user:password, or use htpasswd -B")
	}
	return g, nil
}

func (g *Gate) add(user, password string) error {
	switch {
	case isBcrypt(password):
		cost, err := bcrypt.Cost([]byte(password))
		if err != nil {
			return fmt.Errorf("its hash can't be read: %w", err)
		}
		if cost > maxCost {
			return fmt.Errorf("the cost of its hash is %d, and each request would wait for it: use %d at most", cost, maxCost)
		}
		g.users[user] = []byte(password)
		g.decoy = []byte(password)
	case strings.HasPrefix(password, "$") && strings.Count(password, "$") > 2, strings.HasPrefix(password, "{SHA}"):
		// Taken for a password in clear, it would open the gate to who has read the file.
		return fmt.Errorf("its kind of hash is not supported: use htpasswd -B, which writes $2y$…")
	default:
		g.users[user] = g.sum(password)
	}
	return nil
}

func isBcrypt(s string) bool {
	return len(s) > 4 && s[:2] == "$2" && (s[2] == 'y' || s[2] == 'a' || s[2] == 'b') && s[3] == '$'
}

func (g *Gate) sum(s string) []byte {
	h := hmac.New(sha256.New, g.key[:])
	_, _ = io.WriteString(h, s)
	return h.Sum(nil)
}

// Challenge is the value of the WWW-Authenticate field.
func (g *Gate) Challenge() string {
	realm := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, g.realm)
	return `Basic realm="` + realm + `", charset="UTF-8"`
}

// Admit reports whether the value of an Authorization field is right. It waits while
// many are judged at once, and until ctx ends.
func (g *Gate) Admit(ctx context.Context, authorization string) bool {
	if len(authorization) > maxAuthorization {
		return false
	}
	scheme, encoded, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return false
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return false
	}
	id := [sha256.Size]byte(g.sum(string(decoded)))
	g.mu.Lock()
	_, known := g.admitted[id]
	g.mu.Unlock()
	if known {
		return true
	}
	if !g.judge(ctx, user, password) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.admitted) < maxAdmitted {
		g.admitted[id] = struct{}{}
	}
	return true
}

// judge compares, in a time that does not tell whether there is such a user.
func (g *Gate) judge(ctx context.Context, user, password string) bool {
	want, exists := g.users[user]
	if !exists {
		want = g.decoy
	}
	// Where there are hashes each try costs one, of users without too.
	hash := g.decoy
	if isBcrypt(string(want)) {
		hash = want
	}
	right := exists && !isBcrypt(string(want)) && subtle.ConstantTimeCompare(g.sum(password), want) == 1
	if hash == nil {
		return right
	}
	select {
	case g.hashing <- struct{}{}:
		defer func() { <-g.hashing }()
	case <-ctx.Done():
		return false
	}
	fits := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	return right || fits && exists && isBcrypt(string(want))
}
