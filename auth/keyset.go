package auth

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
)

const (
	// minKeyBits: RFC 7518 section 3.3 demands 2048 bits or more for RS256.
	minKeyBits = 2048
	// maxKeyBits bounds what one signature check costs: about the square of it.
	maxKeyBits = 8192
	// maxKeyIDBytes bounds the names that are kept and logged. Known issuers use
	// some 40 bytes.
	maxKeyIDBytes = 256
)

// keySet is what one good answer of the endpoint holds. Immutable.
type keySet struct {
	keys    map[string]*rsa.PublicKey // by kid; never empty
	keyfunc keyfunc.Keyfunc           // picks the key of a token from the same keys

	ignored int    // keys of other kinds and uses, and broken ones
	broken  string // why the first RSA signing key that isn't usable isn't; "" = none
}

// errOtherKind marks a key that is no RSA signing key: nothing wrong with it.
var errOtherKind = errors.New("not an RSA key for signatures")

// parseKeySet reads a JWK Set (RFC 7517 section 5). A key that can't be used
// doesn't take the others with it; a set without a usable one is an error,
// because an empty answer during a fault of the issuer would lock everyone out.
// Of two keys with the same kid the first counts.
func parseKeySet(raw []byte) (keySet, error) {
	var envelope struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return keySet{}, fmt.Errorf("it is not a JSON Web Key Set: %w", err)
	}
	set := keySet{keys: make(map[string]*rsa.PublicKey)}
	store := jwkset.NewMemoryStorage()
	for i, rawKey := range envelope.Keys {
		kid, key, jwk, err := parseKey(rawKey)
		if err == nil && set.keys[kid] != nil {
			err = errors.New("another key has the same kid")
		}
		if err == nil {
			err = store.KeyWrite(context.Background(), jwk)
		}
		if err == nil {
			set.keys[kid] = key
			continue
		}
		set.ignored++
		if set.broken == "" && !errors.Is(err, errOtherKind) {
			set.broken = fmt.Sprintf("key %d of %d: %v", i+1, len(envelope.Keys), err)
		}
	}
	if len(set.keys) == 0 {
		err := fmt.Errorf("it has %d keys, and none of them is an RSA signing key with a kid", len(envelope.Keys))
		if set.broken != "" {
			err = fmt.Errorf("%w (%s)", err, set.broken)
		}
		return keySet{}, err
	}
	var err error
	set.keyfunc, err = keyfunc.New(keyfunc.Options{Storage: store})
	return set, err
}

func parseKey(raw json.RawMessage) (kid string, key *rsa.PublicKey, jwk jwkset.JWK, err error) {
	var fields jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", nil, jwk, fmt.Errorf("not a JSON Web Key: %w", err)
	}
	if !verifiesRS256(fields) {
		return "", nil, jwk, errOtherKind
	}
	if fields.KID == "" || len(fields.KID) > maxKeyIDBytes {
		return "", nil, jwk, fmt.Errorf("its kid is not 1 to %d bytes long", maxKeyIDBytes)
	}

	// Trust comes from the connection that the set was fetched over, certificates
	// add none; and thumbprints that issuers get wrong would cost good keys.
	fields.X5U, fields.X5C, fields.X5T, fields.X5TS256 = "", nil, "", ""
	// Values of key_ops beyond the registered are allowed (RFC 7517 section 4.3).
	validate := jwkset.JWKValidateOptions{SkipKeyOps: true}
	jwk, err = jwkset.NewJWKFromMarshal(fields, jwkset.JWKMarshalOptions{}, validate)
	if err != nil {
		return "", nil, jwk, err
	}
	key, ok := jwk.Key().(*rsa.PublicKey)
	if !ok {
		return "", nil, jwk, errOtherKind
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return "", nil, jwk, fmt.Errorf("its modulus has %d bits; %d to %d are accepted", bits, minKeyBits, maxKeyBits)
	}
	// An even exponent or 1 is no RSA key; with 1 every signature could be forged.
	if key.E < 3 || key.E%2 == 0 {
		return "", nil, jwk, errors.New("its exponent is not an odd number above 1")
	}
	return fields.KID, key, jwk, nil
}

// verifiesRS256 judges the fields that say what a key is for (RFC 7517 sections
// 4.1 to 4.4).
func verifiesRS256(fields jwkset.JWKMarshal) bool {
	return fields.KTY == jwkset.KtyRSA &&
		(fields.USE == "" || fields.USE == jwkset.UseSig) &&
		(fields.ALG == "" || fields.ALG == jwkset.AlgRS256) &&
		(len(fields.KEYOPS) == 0 || slices.Contains(fields.KEYOPS, jwkset.KeyOpsVerify))
}
