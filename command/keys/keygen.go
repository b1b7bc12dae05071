package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
)

// Keygen makes a key pair.
var Keygen = cli.Command{
	Name:    "keygen",
	Args:    "DIR",
	Summary: "make the keys of a server with authentication and no identity provider",
	About: `It makes an RSA key in DIR/private.pem, which signs tokens and nobody else may read, and its public
half in DIR/jwks.json, which the server reads: CLERK_JWKS_URL=file:///path/to/jwks.json. Each is
written in one step, and nothing that is there is overwritten without --force.

To rotate the key of a server that runs: keygen --add makes a new one and leaves the public halves of
the old ones in jwks.json, so that their tokens stay good; once those have expired, keygen --prune
takes them out. The server sees each change within 10 s.`,
	Examples: []cli.Example{
		{Says: "make a key; then start the server, and make a token, as it tells", Line: "wsproxy keygen keys"},
		{Says: "sign with a new key from now on, and let tokens of the old one be good", Line: "wsproxy keygen --add keys"},
		{Says: "when those have expired, or one has leaked", Line: "wsproxy keygen --prune keys"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		var k keygen
		flags.BoolVar(&k.add, "add", false, "make another key, and keep the old public ones in jwks.json")
		flags.BoolVar(&k.prune, "prune", false, "make none, and leave no public key but that of private.pem")
		flags.BoolVar(&k.force, "force", false, "overwrite what is there; tokens of the old key are refused from then on")
		return k.run
	},
}

// The files in a directory of keys.
const (
	privateFile = "private.pem"
	publicFile  = "jwks.json"
)

// shownKid is how much of a key's name is enough to tell it from others.
const shownKid = 8

type keygen struct {
	add, prune, force bool

	streams      cli.Streams
	private, set string // absolute paths
}

func (k *keygen) run(_ context.Context, args []string, s cli.Streams) error {
	if len(args) != 1 || args[0] == "" {
		return cli.Misuse("it takes one directory")
	}
	if k.add && k.force || k.add && k.prune || k.force && k.prune {
		return cli.Misuse("--add, --prune and --force contradict each other: give one of them")
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	k.streams, k.private, k.set = s, filepath.Join(dir, privateFile), filepath.Join(dir, publicFile)
	if k.prune {
		return k.runPrune()
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("the directory can't be made: %w", err)
	}
	if k.add {
		return k.runAdd()
	}
	return k.runNew()
}

func (k *keygen) runNew() error {
	for _, path := range []string{k.private, k.set} {
		if !k.force && exists(path) {
			return errThere(path)
		}
	}
	key, public, err := newPair()
	if err != nil {
		return err
	}
	set, err := keySet{}.with(public, true)
	if err != nil {
		return err
	}
	if err := k.write(set, key, k.force); err != nil {
		return err
	}
	k.tellNew(public.Kid)
	return nil
}

// runAdd publishes the new key before anything is signed with it.
func (k *keygen) runAdd() error {
	set, err := k.readSet()
	if err != nil {
		return err
	}
	kept := ""
	if exists(k.private) {
		old, err := readKey(k.private)
		if err != nil {
			return err
		}
		kid := publicHalf(&old.PublicKey).Kid
		if !slices.Contains(set.kids(), kid) {
			fmt.Fprintf(k.streams.Err, "wsproxy keygen: note that the key of %s was not in %s\n", privateFile, publicFile)
		}
		kept = filepath.Join(filepath.Dir(k.private), "private-"+kid[:shownKid]+".pem")
	}
	key, public, err := newPair()
	if err != nil {
		return err
	}
	if set, err = set.with(public, false); err != nil {
		return err
	}
	if kept != "" {
		if err := keep(k.private, kept); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("the old key can't be kept: %w", err)
		}
	}
	if err := k.write(set, key, true); err != nil {
		return err
	}
	k.tellNew(public.Kid)
	if kept != "" {
		fmt.Fprintf(k.streams.Out, `
The old key is in %s; nothing needs it any more. Tokens that it has signed are good until
they expire, or until

  wsproxy keygen --prune %s

takes it out of %s.
`, kept, quote(filepath.Dir(k.private)), publicFile)
	}
	return nil
}

func (k *keygen) runPrune() error {
	key, err := readKey(k.private)
	if err != nil {
		return err
	}
	set, err := k.readSet()
	if err != nil {
		return err
	}
	public := publicHalf(&key.PublicKey)
	names := slices.DeleteFunc(set.kids(), func(kid string) bool { return kid == public.Kid })
	if set, err = set.with(public, true); err != nil {
		return err
	}
	raw, err := set.encode()
	if err != nil {
		return err
	}
	if err := put(k.set, raw, publicMode, true); err != nil {
		return fmt.Errorf("the public keys can't be written: %w", err)
	}
	for _, kid := range names {
		fmt.Fprintf(k.streams.Out, "Taken out: %q\n", kid)
	}
	fmt.Fprintf(k.streams.Out, "%s has the key of %s alone, %s. Servers refuse tokens of others within 10 s.\n", k.set, privateFile, public.Kid)
	return nil
}

// readSet returns an empty set if there is none.
func (k *keygen) readSet() (keySet, error) {
	raw, err := readBounded(k.set)
	if errors.Is(err, fs.ErrNotExist) {
		return keySet{}, nil
	}
	if err != nil {
		return keySet{}, fmt.Errorf("the old public keys can't be read: %w", err)
	}
	set, err := parseSet(raw)
	if err != nil {
		return keySet{}, fmt.Errorf("the old public keys in %s can't be kept: %w", k.set, err)
	}
	return set, nil
}

// write writes the set first: a key that nobody knows signs nothing that is good,
// and a public key that nobody has does no harm.
func (k *keygen) write(set keySet, private []byte, replace bool) error {
	raw, err := set.encode()
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path    string
		content []byte
		mode    fs.FileMode
	}{{k.set, raw, publicMode}, {k.private, private, privateMode}} {
		err := put(file.path, file.content, file.mode, replace)
		if errors.Is(err, fs.ErrExist) {
			return errThere(file.path)
		}
		if err != nil {
			return fmt.Errorf("%s can't be written: %w", file.path, err)
		}
	}
	return nil
}

func errThere(path string) error {
	return fmt.Errorf("%s is there already, and nothing was overwritten: --add makes another key beside it, --force replaces it", path)
}

func newPair() (private []byte, public publicKey, err error) {
	key, err := generate()
	if err != nil {
		return nil, publicKey{}, fmt.Errorf("the key can't be made: %w", err)
	}
	private, err = encodeKey(key)
	return private, publicHalf(&key.PublicKey), err
}

func (k *keygen) tellNew(kid string) {
	tokenLine := "wsproxy token --key " + quote(k.private) + " --sub alice --ttl "
	fmt.Fprintf(k.streams.Out, `Key %s of %d bits is made.

  %s signs tokens: keep it where servers and users can't read it
  %s is public: servers read it

The server's environment:

  CLERK_JWKS_URL=%s

A token for a user:

  %s

Or have the user's client make a fresh one at each connect, by its environment:

  WSPROXY_TOKEN_COMMAND=%s
`, kid, newKeyBits, k.private, k.set, quote(fileURL(k.set)), tokenLine+"24h", quote(tokenLine+"1h"))
}

// fileURL is the URL of an absolute path, of windows too.
func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// quote makes one word of text for a shell.
func quote(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:%@,=\\"
	if text != "" && strings.Trim(text, plain) == "" && !strings.Contains(text, `\`) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
