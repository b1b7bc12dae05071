package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxTokenBytes bounds a token before anything is decoded. Tokens that have to
// fit into a cookie are below 4 KiB; a request's whole header is commonly held to
// some multiples of this.
const MaxTokenBytes = 8 << 10

// algorithm is the only one accepted. What the token says is compared with it,
// never followed (RFC 8725 section 3.1).
const algorithm = "RS256"

// Config is what a Verifier is built from. Only JWKSURL is required.
type Config struct {
	// JWKSURL is where the issuer publishes its keys, or the file that has them; see
	// ValidateJWKSURL.
	// Redirects are not followed.
	JWKSURL string
	// Issuer must equal "iss". Empty: not checked, so that every token that the
	// issuer's keys sign is accepted, whatever it was issued for.
	Issuer string
	// Audience must be in "aud". Empty: not checked.
	Audience string
	// AuthorizedParties are the values of which "azp" must be one: the origins of
	// the web applications whose users may come. Empty: not checked.
	AuthorizedParties []string
	// Logger gets one line for each failed fetch and each change of the keys, never
	// anything from a token. Nil means slog.Default().
	Logger *slog.Logger

	// Client makes the fetches, with a policy for redirects of our own. Nil means
	// one with bounds of its own. A seam for tests and for private authorities.
	Client *http.Client
	// Timing is a seam for tests; the zero value is right.
	Timing Timing
}

// Identity is who a good token stands for.
type Identity struct {
	// Subject is the claim "sub": 1 to MaxSubjectBytes bytes of printable text,
	// fit to be logged.
	Subject string
	// Expires is the claim "exp". A token is good for [Leeway] longer.
	Expires time.Time
}

// Verifier judges tokens. It is safe for concurrent use.
type Verifier struct {
	judge atomic.Pointer[judge]
	keys  *keyring
}

// A judge is what an operator can change while a Verifier is used. It is never changed
// itself: each token is judged by one.
type judge struct {
	rules  rules
	parser *jwt.Parser
}

// Replace has v hold tokens to other claims from now on: to Issuer, Audience and
// AuthorizedParties of cfg, whose slice is copied. Any goroutine may call it.
func (v *Verifier) Replace(cfg Config) error {
	if slices.Contains(cfg.AuthorizedParties, "") {
		return errors.New("an authorized party is empty; list only the origins that may ask")
	}
	v.judge.Store(&judge{
		rules: rules{
			issuer:            cfg.Issuer,
			audience:          cfg.Audience,
			authorizedParties: slices.Clone(cfg.AuthorizedParties),
		},
		parser: newParser(cfg),
	})
	return nil
}

// Refresh has the key set fetched, or read, at once. It returns before that is done. A
// fetch that is under way is followed by another one. Any goroutine may call it.
func (v *Verifier) Refresh() {
	select {
	case v.keys.again <- struct{}{}:
	default: // it is asked for already
	}
}

// New checks cfg and starts the first fetch in the background; it never waits
// for the network. The caller ends the Verifier with Close. The only errors are
// those of cfg.
func New(cfg Config) (*Verifier, error) {
	address, err := parseJWKSURL(cfg.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("the address of the key set is not acceptable: %w", err)
	}
	v := new(Verifier)
	if err := v.Replace(cfg); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	timing := cfg.Timing.withDefaults()
	if v.keys, err = openKeys(address, cfg, timing); err != nil {
		return nil, err
	}
	return v, nil
}

// openKeys starts the keyring of an address that parseJWKSURL has accepted. For a
// file there is no client of any network.
func openKeys(address *url.URL, cfg Config, timing Timing) (*keyring, error) {
	log := cfg.Logger.With("url", loggable(address))
	if address.Scheme != fileScheme {
		return newKeyring(newFetcher(address, cfg.Client, timing.FetchTimeout).fetch, fromEndpoint, timing, log), nil
	}
	path, err := localPath(address, runtime.GOOS == "windows")
	if err != nil {
		return nil, err
	}
	return newKeyring((&keyFile{path: path}).read, fromFile, timing.forFile(), log), nil
}

// Close ends the background refresh and waits until it has ended; a fetch that is
// under way is cut short and requests that wait for it are refused. Closing twice
// does no harm.
func (v *Verifier) Close() { v.keys.close() }

// Verify says who token stands for, or why it is refused: every error is an
// *Error. It waits for a key that isn't known yet for a few seconds at most
// (Timing.MaxWait), and no longer than ctx; everything else takes microseconds.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if err := checkForm(token); err != nil {
		return Identity{}, err
	}
	claims := jwt.MapClaims{}
	judge := v.judge.Load()
	parsed, err := judge.parser.ParseWithClaims(token, claims, func(parsed *jwt.Token) (any, error) {
		kid, err := keyID(parsed.Header)
		if err != nil {
			return nil, err
		}
		if err := judge.rules.judge(claims, time.Now()); err != nil {
			return nil, err
		}
		set, refused := v.keys.find(ctx, kid)
		if refused != nil { // a nil *Error in an error would not be nil
			return nil, refused
		}
		return set.KeyfuncCtx(ctx)(parsed)
	})
	if err != nil {
		return Identity{}, translate(err, parsed)
	}
	subject, _ := claims["sub"].(string)
	expires, _ := claims.GetExpirationTime() // it was judged
	return Identity{Subject: subject, Expires: expires.Time}, nil
}

// Stats are counts since New, for metrics.
type Stats struct {
	Fetches     uint64    // fetches of the key set that have ended
	Failures    uint64    // those of them that failed
	Keys        int       // keys that tokens can be checked with now
	LastSuccess time.Time // end of the last good fetch; zero = none yet
	Waiting     int       // requests that wait for a key now
	Crowded     uint64    // requests refused because too many were waiting
}

// Stats costs some loads; it never waits.
func (v *Verifier) Stats() Stats {
	s := v.keys.current.Load()
	keys := len(s.set.keys)
	if v.keys.outdated(s) {
		keys = 0
	}
	return Stats{
		Fetches:     s.fetches,
		Failures:    s.failures,
		Keys:        keys,
		LastSuccess: s.fetched,
		Waiting:     len(v.keys.waiting),
		Crowded:     v.keys.crowded.Load(),
	}
}

// newParser is the library with everything strict that it can be strict about.
func newParser(cfg Config) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{algorithm}),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(Leeway),
		jwt.WithExpirationRequired(),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return jwt.NewParser(options...)
}

// checkForm refuses what is no token at a glance. Its alphabet is that of
// base64url (RFC 4648 section 5) and the dot: the decoder itself would pass over
// line ends, and so take many texts for one token.
func checkForm(token string) error {
	switch {
	case token == "":
		return errMissing
	case len(token) > MaxTokenBytes:
		return errTooLong
	}
	for i := range len(token) {
		c := token[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return errMalformed
		}
	}
	return nil
}

// keyID reads the one field of the header that is followed. Fields that bring or
// point to a key (jwk, jku, x5c, x5u) are not looked at: the sender wrote them. A
// header with crit must be refused by who doesn't know the extensions that it
// names (RFC 7515 section 4.1.11).
func keyID(header map[string]any) (string, error) {
	if _, present := header["crit"]; present {
		return "", errCritical
	}
	kid, ok := header["kid"].(string)
	if !ok || kid == "" {
		return "", errNoKeyID
	}
	return kid, nil
}

// translate turns what the parser says into an *Error: our own refusals come
// back as they are, the library's by their kind.
func translate(err error, parsed *jwt.Token) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errMalformed
	case errors.Is(err, jwt.ErrTokenUnverifiable), parsed == nil, parsed.Method == nil, parsed.Method.Alg() != algorithm:
		return errAlgorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errSignature
	case errors.Is(err, jwt.ErrTokenExpired):
		return errExpired // while its key was being fetched
	default:
		return errMalformed // a rule that the library sees more strictly
	}
}
