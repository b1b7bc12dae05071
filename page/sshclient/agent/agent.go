package agent

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Messages of the agent's protocol, RFC 9987. The others change an agent, and are refused.
const (
	failure           = 5
	requestIdentities = 11
	identities        = 12
	signRequest       = 13
	signResponse      = 14

	flagSHA256 = 2
	flagSHA512 = 4

	// maxMessage is far above what is signed for a login; it bounds what a server makes us keep.
	maxMessage = 256 << 10

	// maxChannels is how many programs may ask at once. Each may have a message kept, so a server must not have any
	// number of them.
	maxChannels = 64
)

// A Key can be listed and used.
type Key interface {
	ssh.AlgorithmSigner // PublicKey returns nil as long as it isn't known
	Name() string
}

// An agent answers one request at a time, as it may ask a person.
type agent struct {
	keys []Key
	mu   sync.Mutex
}

// Serve answers the requests of a client's server, as long as the connection lasts.
func Serve(client *ssh.Client, keys []Key) {
	a := &agent{keys: keys}
	channels := client.HandleChannelOpen("auth-agent@openssh.com")
	go func() {
		free := make(chan struct{}, maxChannels)
		for offered := range channels {
			select {
			case free <- struct{}{}:
			default:
				_ = offered.Reject(ssh.ResourceShortage, "the agent is asked by too many programs at once")
				continue
			}
			channel, requests, err := offered.Accept()
			if err != nil {
				<-free
				continue
			}
			go ssh.DiscardRequests(requests)
			go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }()
			go func() {
				defer func() { <-free }()
				defer channel.Close()
				a.answerAll(channel)
			}()
		}
	}()
}

// answerAll answers until the other side ends, or says what makes no sense.
func (a *agent) answerAll(channel io.ReadWriter) {
	var length [4]byte
	for {
		if _, err := io.ReadFull(channel, length[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(length[:])
		if n == 0 || n > maxMessage {
			return
		}
		request := make([]byte, n)
		if _, err := io.ReadFull(channel, request); err != nil {
			return
		}
		if _, err := channel.Write(ssh.Marshal(&struct{ Answer []byte }{a.answer(request)})); err != nil {
			return
		}
	}
}

func (a *agent) answer(request []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch request[0] {
	case requestIdentities:
		return a.list()
	case signRequest:
		var question struct {
			Key, Data []byte
			Flags     uint32
		}
		if ssh.Unmarshal(request[1:], &question) == nil {
			if signature := a.sign(question.Key, question.Data, question.Flags); signature != nil {
				return append([]byte{signResponse}, ssh.Marshal(&struct{ Signature []byte }{ssh.Marshal(signature)})...)
			}
		}
	}
	return []byte{failure}
}

// list names the keys whose public half is known.
func (a *agent) list() []byte {
	count := uint32(0)
	var all []byte
	for _, key := range a.keys {
		if key.PublicKey() != nil {
			count++
			all = append(all, ssh.Marshal(&struct {
				Key     []byte
				Comment string
			}{key.PublicKey().Marshal(), key.Name()})...)
		}
	}
	return append([]byte{identities}, ssh.Marshal(&struct {
		Count uint32
		All   []byte `ssh:"rest"`
	}{count, all})...)
}

// sign returns nil when it can't. Flags choose the hash of RSA.
func (a *agent) sign(public, data []byte, flags uint32) *ssh.Signature {
	for _, key := range a.keys {
		if key.PublicKey() == nil || string(key.PublicKey().Marshal()) != string(public) {
			continue
		}
		algorithm := ""
		if key.PublicKey().Type() == ssh.KeyAlgoRSA {
			switch {
			case flags&flagSHA512 != 0:
				algorithm = ssh.KeyAlgoRSASHA512
			case flags&flagSHA256 != 0:
				algorithm = ssh.KeyAlgoRSASHA256
			default:
				return nil // SHA-1
			}
		}
		signature, err := key.SignWithAlgorithm(rand.Reader, data, algorithm)
		if err != nil {
			return nil
		}
		return signature
	}
	return nil
}
