package pkcs8

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os/exec"
	"testing"
)

// encrypted is a key that OpenSSL makes and encrypts.
func encrypted(t testing.TB, options ...string) []byte {
	t.Helper()
	made, err := exec.Command("openssl", "genpkey", "-algorithm", "ed25519").Output()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("openssl", append([]string{"pkcs8", "-topk8", "-passout", "pass:sécret"}, options...)...)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = in.Write(made)
		in.Close()
	}()
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(out)
	if block == nil || block.Type != BlockType {
		t.Fatalf("openssl has made %s", out)
	}
	return block.Bytes
}

func TestKeysOfOpenSSL(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{
		nil, {"-v2", "aes-128-cbc"}, {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"}, {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1", "-iter", "5000"},
	} {
		key, err := Read(encrypted(t, options...))
		if err != nil {
			t.Errorf("%v: %v", options, err)
			continue
		}
		for range 20 { // of which some would have a padding
			if _, err := key.Decrypt("secret"); err != ErrPassphrase {
				t.Errorf("%v: a wrong passphrase has %v", options, err)
			}
		}
		plain, err := key.Decrypt("sécret")
		if err != nil {
			t.Errorf("%v: %v", options, err)
			continue
		}
		if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
			t.Errorf("%v: what is decrypted is no key: %v", options, err)
		}
	}
	for _, options := range [][]string{{"-v2", "des3"}, {"-scrypt"}} {
		if _, err := Read(encrypted(t, options...)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: %v", options, err)
		}
	}
}

func TestKeyThatTakesForEver(t *testing.T) {
	t.Parallel()
	few, many := []byte{2, 3, 1, 0x11, 0x70}, []byte{2, 3, 0x7f, 0xff, 0xff} // 70,000 and 8,388,607
	der := encrypted(t, "-iter", "70000")
	if _, err := Read(der); err != nil || !bytes.Contains(der, few) {
		t.Fatalf("%v, or other iterations", err)
	}
	if _, err := Read(bytes.Replace(der, few, many, 1)); err != ErrUnsupported {
		t.Errorf("so many iterations: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(encrypted(f))
	f.Add([]byte("0\x00"))
	f.Fuzz(func(_ *testing.T, der []byte) {
		if key, err := Read(der); err == nil && key.iterations < 10_000 {
			_, _ = key.Decrypt("x")
		}
	})
}
