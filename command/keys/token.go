package keys

import (
	"context"
	"crypto/rsa"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/pflag"

	"wsproxy/auth"
	"wsproxy/command/cli"
)

const (
	day = 24 * time.Hour
	// defaultTTL is a working day and the night behind it.
	defaultTTL = day
	// minTTL is the unit of the times in a token.
	minTTL = time.Second
	// maxTTL is a year: a token can't be taken back without its key.
	maxTTL = 366 * day
)

// Token signs a token.
var Token = cli.Command{
	Name:    "token",
	Summary: "print a token that a key of keygen's signs",
	About: `It prints an RS256 token for the user --sub, good from now on for --ttl. A server accepts it whose
CLERK_JWKS_URL names the key's jwks.json, and whose JWT_ISSUER, JWT_AUDIENCE and
JWT_AUTHORIZED_PARTIES, if they are set, are --iss, --aud and --azp. A token can't be taken back: it
is good until it expires, or until its key is taken out of jwks.json.`,
	Examples: []cli.Example{
		{Says: "a token for a day", Line: "wsproxy token --key keys/private.pem --sub alice --ttl 24h"},
		{Says: "one for a machine, of a server that asks for an audience", Line: "wsproxy token --key keys/private.pem --sub ci --ttl 90d --aud wsproxy"},
		{Says: "have a client make a fresh one at each connect", Line: "export WSPROXY_TOKEN_COMMAND='wsproxy token --key keys/private.pem --sub alice --ttl 1h'"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		t := token{ttl: ttl(defaultTTL)}
		flags.StringVar(&t.key, "key", "", "`file` with the private key, such as keys/private.pem")
		flags.StringVar(&t.sub, "sub", "", "the `user` that it stands for (sub)")
		flags.Var(&t.ttl, "ttl", "how long it is good, such as 15m, 24h or 30d")
		flags.StringVar(&t.iss, "iss", "", "who has issued it (iss)")
		flags.StringVar(&t.aud, "aud", "", "whom it is for (aud)")
		flags.StringVar(&t.azp, "azp", "", "the application that it was issued to (azp), an origin")
		return t.run
	},
}

type token struct {
	key, sub, iss, aud, azp string
	ttl                     ttl
}

func (t *token) run(_ context.Context, args []string, s cli.Streams) error {
	switch {
	case len(args) > 0:
		return cli.Misuse("%q is too much: it takes flags only", args[0])
	case t.key == "":
		return cli.Misuse("--key is missing: the file with the private key, such as keys/private.pem; wsproxy keygen makes one")
	case t.sub == "":
		return cli.Misuse("--sub is missing: the user that the token stands for")
	case !auth.IsSubject(t.sub):
		return cli.Misuse("--sub must be up to %d bytes of printable text", auth.MaxSubjectBytes)
	case time.Duration(t.ttl) < minTTL || time.Duration(t.ttl) > maxTTL:
		return cli.Misuse("--ttl is %s, but must be from %s to %s: a token can't be taken back, only its key can", t.ttl, ttl(minTTL), ttl(maxTTL))
	}
	key, err := readKey(t.key)
	if err != nil {
		return err
	}
	warnIfShared(t.key, s)
	signed, err := t.sign(key, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.Out, signed)
	return err
}

func (t *token) sign(key *rsa.PrivateKey, now time.Time) (string, error) {
	// Whole seconds, the last one not cut.
	expiry := now.Add(time.Duration(t.ttl) + time.Second - 1)
	claims := jwt.MapClaims{"sub": t.sub, "iat": now.Unix(), "exp": expiry.Unix()}
	for name, value := range map[string]string{"iss": t.iss, "aud": t.aud, "azp": t.azp} {
		if value != "" {
			claims[name] = value
		}
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	unsigned.Header["kid"] = publicHalf(&key.PublicKey).Kid
	signed, err := unsigned.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("the token can't be signed: %w", err)
	}
	if len(signed) > auth.MaxTokenBytes {
		return "", fmt.Errorf("the token is longer than the %d bytes that a server accepts: shorten --iss, --aud or --azp", auth.MaxTokenBytes)
	}
	return signed, nil
}

// readKey reads a file with a private key.
func readKey(path string) (*rsa.PrivateKey, error) {
	raw, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("the private key can't be read: %w", err)
	}
	key, err := decodeKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%s can't be used: %w", path, err)
	}
	return key, nil
}

// warnIfShared tells of a private key that others can read, where there are modes.
func warnIfShared(path string, s cli.Streams) {
	info, err := os.Stat(path)
	if err == nil && runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(s.Err, "wsproxy token: others can use %s, and sign tokens with it (mode %04o): chmod 600\n", path, info.Mode().Perm())
	}
}

// A ttl is a flag of a duration that may be given in days, too.
type ttl time.Duration

func (t *ttl) Set(text string) error {
	if count, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseUint(count, 10, 16)
		if err != nil {
			return errTTL
		}
		*t = ttl(time.Duration(n) * day)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errTTL
	}
	*t = ttl(d)
	return nil
}

var errTTL = fmt.Errorf("it must be a duration such as 15m, 24h or 30d")

func (t ttl) String() string {
	if d := time.Duration(t); d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := time.Duration(t).String()
	if whole, found := strings.CutSuffix(text, "h0m0s"); found {
		return whole + "h"
	}
	return text
}

func (t ttl) Type() string { return "duration" }
