package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// maxFileBytes bounds a key set on disk as one that is fetched.
const maxFileBytes = maxAnswerBytes

// localPath returns the path that a file URL names (RFC 8089). Of windows it is
// file:///C:/keys/jwks.json, whose path is C:\keys\jwks.json.
func localPath(address *url.URL, windows bool) (string, error) {
	const expected = "expected file:///absolute/path"
	switch {
	case address.Host != "" || address.User != nil:
		return "", fmt.Errorf("a file URL names no other machine, and a path begins with the third slash; %s", expected)
	case address.Opaque != "" || !strings.HasPrefix(address.Path, "/"):
		return "", fmt.Errorf("the path of a file URL must be absolute; %s", expected)
	case address.RawQuery != "" || address.ForceQuery || address.Fragment != "":
		return "", fmt.Errorf("a file URL has no query and no fragment: write ? as %%3F and # as %%23; %s", expected)
	case strings.HasSuffix(address.Path, "/"):
		return "", fmt.Errorf("a path that ends with a slash names no file; %s", expected)
	case strings.ContainsRune(address.Path, 0):
		return "", fmt.Errorf("a path has no zero byte in it; %s", expected)
	}
	if !windows {
		return address.Path, nil
	}
	path := address.Path[1:]
	if len(path) < 3 || path[1] != ':' || path[2] != '/' {
		return "", errors.New("the path of a file URL must begin with a drive; expected file:///C:/path")
	}
	return strings.ReplaceAll(path, "/", `\`), nil
}

// A keyFile is a key set on disk. It is read as a whole each time, for times and
// sizes of files don't tell every change, and a key set is small. Only the
// goroutine of the keyring may call read.
type keyFile struct {
	path string

	// Of the read before: what it saw, and what came of it.
	seen [sha256.Size]byte
	set  keySet
	err  *fileError
}

// A fileError says why a key set on disk is none. As long as the file stays as it
// is each read returns the same one.
type fileError struct{ text string }

func (e *fileError) Error() string { return e.text }

// read returns what fetch of a fetcher does. A file that somebody is writing is
// one that can't be read yet.
func (f *keyFile) read(context.Context) (keySet, error) {
	raw, err := readBounded(f.path)
	// What can't be read is no content, whatever its error says.
	seen := sha256.Sum256(append([]byte{'='}, raw...))
	if err != nil {
		seen = sha256.Sum256([]byte(err.Error()))
	}
	if seen != f.seen {
		f.seen, f.set, f.err = seen, keySet{}, nil
		if err == nil {
			f.set, err = parseSafely(raw)
		}
		if err != nil {
			f.err = &fileError{err.Error()}
		}
	}
	if f.err != nil { // a nil *fileError in an error would not be nil
		return keySet{}, f.err
	}
	return f.set, nil
}

// readBounded reads a regular file: the open of a pipe could take for ever.
func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// One byte more than allowed tells a file of the full size from a longer one.
	raw, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFileBytes)
	}
	return raw, nil
}

// parseSafely is parseKeySet, whose parsers may trip over what is odd: that must
// cost that set, not the process.
func parseSafely(raw []byte) (set keySet, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			set, err = keySet{}, fmt.Errorf("reading the key set failed unexpectedly: %v", cause)
		}
	}()
	return parseKeySet(raw)
}

// A KeyFile is a key set on disk, as ReadKeyFile finds it.
type KeyFile struct {
	// Path is where it is, in this system's notation.
	Path string
	// Keys are the names (kid) of those that tokens can be checked with, sorted.
	Keys []string
	// Ignored is how many others there are.
	Ignored int
	// Broken says why the first RSA signing key that can't be used can't; "" = there
	// is none.
	Broken string
	// Private says that there is a private key in it, which a server never needs.
	Private bool
}

// ReadKeyFile reads the key set that a file URL names, as a Verifier does. Path is
// set with an error, too. An address that is no file URL is an error.
func ReadKeyFile(raw string) (KeyFile, error) {
	address, err := parseJWKSURL(raw)
	if err != nil {
		return KeyFile{}, err
	}
	if address.Scheme != fileScheme {
		return KeyFile{}, errors.New("not the URL of a file")
	}
	path, err := localPath(address, runtime.GOOS == "windows")
	if err != nil {
		return KeyFile{}, err
	}
	found := KeyFile{Path: filepath.Clean(path)}
	content, err := readBounded(path)
	if err != nil {
		return found, err
	}
	set, err := parseSafely(content)
	if err != nil {
		return found, err
	}
	found.Keys = slices.Sorted(maps.Keys(set.keys))
	found.Ignored, found.Broken = set.ignored, set.broken
	found.Private = hasPrivateKey(content)
	return found, nil
}

// hasPrivateKey looks for the private exponent of a key (RFC 7518 section 6.3.2.1;
// those of elliptic curves have the same name).
func hasPrivateKey(set []byte) bool {
	var envelope struct {
		Keys []struct {
			D string `json:"d"`
		} `json:"keys"`
	}
	if json.Unmarshal(set, &envelope) != nil {
		return false
	}
	for _, key := range envelope.Keys {
		if key.D != "" {
			return true
		}
	}
	return false
}
