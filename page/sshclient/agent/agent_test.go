package agent

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

type named struct{ ssh.AlgorithmSigner }

func (named) Name() string { return "a name" }

// unknown is a key whose public half is hidden.
type unknown struct{ ssh.AlgorithmSigner }

func (unknown) PublicKey() ssh.PublicKey { return nil }

func FuzzAgent(f *testing.F) {
	_, signer := sshd.NewKey(f)
	a := &agent{keys: []Key{named{signer.(ssh.AlgorithmSigner)}, named{unknown{}}}}
	f.Add([]byte{requestIdentities})
	f.Add(append([]byte{signRequest}, ssh.Marshal(&struct {
		Key, Data []byte
		Flags     uint32
	}{signer.PublicKey().Marshal(), []byte("data"), 0})...))
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) == 0 {
			return
		}
		if len(a.answer(request)) == 0 {
			t.Error("no answer")
		}
	})
}
