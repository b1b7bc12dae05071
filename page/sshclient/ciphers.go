package sshclient

import (
	"runtime"

	"golang.org/x/crypto/ssh"
)

// ciphers are those that are offered, best first; nil means x/crypto's own order.
// WebAssembly has no instructions for AES, which makes ChaCha20 several times
// as fast there.
func ciphers() []string {
	if runtime.GOARCH != "wasm" {
		return nil
	}
	return []string{
		ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128GCM, ssh.CipherAES256GCM,
		ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
	}
}
