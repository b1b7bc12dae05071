package pkcs8

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"
)

// BlockType is the PEM type of an encrypted key.
const BlockType = "ENCRYPTED PRIVATE KEY"

// maxIterations bounds the time that a file can take. OpenSSL uses 2,048, and careful people less than a million.
const maxIterations = 5_000_000

// Errors of Read and Decrypt.
var (
	ErrMalformed   = errors.New("it is no encrypted PKCS #8")
	ErrUnsupported = errors.New("it is not encrypted by PBKDF2 and AES")
	ErrPassphrase  = errors.New("the passphrase is wrong")
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// keySizes are those of AES-CBC, in bytes.
var keySizes = map[string]int{
	"2.16.840.1.101.3.4.1.2":  16,
	"2.16.840.1.101.3.4.1.22": 24,
	"2.16.840.1.101.3.4.1.42": 32,
}

// hashes are those of HMAC.
var hashes = map[string]func() hash.Hash{
	"":                    sha1.New, // the default of the format
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// A Key is an encrypted private key.
type Key struct {
	data, salt, iv   []byte
	iterations, size int
	hash             func() hash.Hash
}

// Read reads the bytes of a PEM block of BlockType. Nothing is decrypted.
func Read(der []byte) (*Key, error) {
	var outer struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if !whole(der, &outer) {
		return nil, ErrMalformed
	}
	if !outer.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, ErrUnsupported
	}
	var scheme struct{ Derivation, Encryption pkix.AlgorithmIdentifier }
	if !whole(outer.Algorithm.Parameters.FullBytes, &scheme) {
		return nil, ErrMalformed
	}
	size := keySizes[scheme.Encryption.Algorithm.String()]
	if !scheme.Derivation.Algorithm.Equal(oidPBKDF2) || size == 0 {
		return nil, ErrUnsupported
	}
	var derivation struct {
		Salt       []byte
		Iterations int
		Size       int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	k := &Key{data: outer.Data, size: size}
	if !whole(scheme.Derivation.Parameters.FullBytes, &derivation) || !whole(scheme.Encryption.Parameters.FullBytes, &k.iv) {
		return nil, ErrMalformed
	}
	k.salt, k.iterations, k.hash = derivation.Salt, derivation.Iterations, hashes[derivation.PRF.Algorithm.String()]
	switch {
	case k.hash == nil, derivation.Size != 0 && derivation.Size != size, k.iterations > maxIterations:
		return nil, ErrUnsupported
	case k.iterations < 1, len(k.iv) != aes.BlockSize, len(k.data) == 0, len(k.data)%aes.BlockSize != 0:
		return nil, ErrMalformed
	}
	return k, nil
}

// Decrypt returns the PKCS #8 of the key. It fails with ErrPassphrase.
func (k *Key) Decrypt(passphrase string) ([]byte, error) {
	secret, err := pbkdf2.Key(k.hash, passphrase, k.salt, k.iterations, k.size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(k.data))
	cipher.NewCBCDecrypter(block, k.iv).CryptBlocks(plain, k.data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > aes.BlockSize {
		return nil, ErrPassphrase
	}
	plain = plain[:len(plain)-padding]
	var inner asn1.RawValue
	if !whole(plain, &inner) || inner.Tag != asn1.TagSequence { // the padding of a wrong one is right now and then
		return nil, ErrPassphrase
	}
	return plain, nil
}

// whole reads a value that is all there is.
func whole(der []byte, value any) bool {
	rest, err := asn1.Unmarshal(der, value)
	return err == nil && len(rest) == 0
}
