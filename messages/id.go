package messages

import (
	"crypto/rand"
	"encoding/hex"
)

// NewID returns n random bytes in hex, from a cryptographic source.
func NewID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// IsSubdomain reports whether s has the form of a subdomain: nothing else is
// ever looked up.
func IsSubdomain(s string) bool {
	if len(s) != 2*SubdomainBytes {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
