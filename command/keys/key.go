package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

const (
	// newKeyBits is the size of new keys. 2,048 bits are enough until 2030 (NIST SP
	// 800-57, part 1), and these keys stay in use for as long as nobody rotates them.
	// A check takes a server some 30 µs more than with 2,048 bits.
	newKeyBits = 3072
	// minKeyBits and maxKeyBits are what a server accepts (RFC 7518 section 3.3).
	minKeyBits, maxKeyBits = 2048, 8192
)

// The blocks of PEM that hold an RSA private key: PKCS #8, and what older tools write.
const (
	pkcs8Block = "PRIVATE KEY"
	pkcs1Block = "RSA PRIVATE KEY"
)

func generate() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, newKeyBits) }

// encodeKey returns a private key in PEM.
func encodeKey(key *rsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pkcs8Block, Bytes: der}), nil
}

// decodeKey returns the first private key in a text of PEM.
func decodeKey(text []byte) (*rsa.PrivateKey, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("there is no private key in PEM in it")
		}
		text = rest
		var key any
		var err error
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("its key is encrypted, which is not supported; openssl pkey -in FILE -out FILE2 decrypts it")
		case block.Type == pkcs8Block:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case block.Type == pkcs1Block:
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("its key can't be read: %w", err)
		}
		private, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("its key is no RSA key, and tokens are signed with RS256")
		}
		if bits := private.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
			return nil, fmt.Errorf("its key has %d bits; servers accept %d to %d", bits, minKeyBits, maxKeyBits)
		}
		return private, nil
	}
}

// A publicKey is the public half of a key as a set has it (RFC 7517). The order of
// the first three is that of its thumbprint.
type publicKey struct {
	E   string `json:"e"`
	Kty string `json:"kty"`
	N   string `json:"n"`
	Kid string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
}

func publicHalf(key *rsa.PublicKey) publicKey {
	encoded := base64.RawURLEncoding.EncodeToString
	public := publicKey{E: encoded(big.NewInt(int64(key.E)).Bytes()), Kty: "RSA", N: encoded(key.N.Bytes())}
	public.Kid = public.thumbprint()
	public.Use, public.Alg = "sig", "RS256"
	return public
}

// thumbprint names a key by what it is (RFC 7638), so that two never share a name.
func (p publicKey) thumbprint() string {
	canonical, err := json.Marshal(publicKey{E: p.E, Kty: p.Kty, N: p.N})
	if err != nil {
		panic(err) // three strings
	}
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
