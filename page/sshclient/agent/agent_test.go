package agent

import (
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

type named struct{ ssh.AlgorithmSigner }

func (named) Name() string { return "a name" }

// unknown is a key whose public half is hidden.
type unknown struct{ ssh.AlgorithmSigner }

func (unknown) PublicKey() ssh.PublicKey { return nil }

// A server that announces more than any request has is not waited for.
func TestLongRequestsAreNotKept(t *testing.T) {
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		(&agent{}).answerAll(ours)
		close(ended)
	}()
	if _, err := theirs.Write(binary.BigEndian.AppendUint32(nil, maxMessage+1)); err != nil {
		t.Fatal(err)
	}
	<-ended
}

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
