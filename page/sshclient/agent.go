package sshclient

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Messages of the agent's protocol, RFC 9987. The others change an agent, and are refused.
const (
	agentFailure           = 5
	agentRequestIdentities = 11
	agentIdentities        = 12
	agentSignRequest       = 13
	agentSignResponse      = 14

	agentFlagSHA256 = 2
	agentFlagSHA512 = 4

	// maxAgentMessage is far above what is signed for a login; it bounds what a server makes us keep.
	maxAgentMessage = 256 << 10
)

// agentKeys are the keys with which programs of the server may sign. They can be listed and used, and
// nothing else: a server can neither add, nor remove, nor lock any.
type agentKeys struct {
	keys []*privateKey
	mu   sync.Mutex // one request at a time, as it may ask a person
}

func newAgentKeys(keys []*privateKey) *agentKeys { return &agentKeys{keys: keys} }

// serve answers the server's requests, as long as the connection lasts.
func (a *agentKeys) serve(client *ssh.Client) {
	channels := client.HandleChannelOpen("auth-agent@openssh.com")
	go func() {
		for offered := range channels {
			channel, requests, err := offered.Accept()
			if err != nil {
				continue
			}
			go ssh.DiscardRequests(requests)
			go func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }()
			go func() {
				defer channel.Close()
				a.answerAll(channel)
			}()
		}
	}()
}

// answerAll answers until the other side ends, or says what makes no sense.
func (a *agentKeys) answerAll(channel io.ReadWriter) {
	var length [4]byte
	for {
		if _, err := io.ReadFull(channel, length[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(length[:])
		if n == 0 || n > maxAgentMessage {
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

func (a *agentKeys) answer(request []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch request[0] {
	case agentRequestIdentities:
		return a.list()
	case agentSignRequest:
		var question struct {
			Key, Data []byte
			Flags     uint32
		}
		if ssh.Unmarshal(request[1:], &question) == nil {
			if signature := a.sign(question.Key, question.Data, question.Flags); signature != nil {
				return append([]byte{agentSignResponse}, ssh.Marshal(&struct{ Signature []byte }{ssh.Marshal(signature)})...)
			}
		}
	}
	return []byte{agentFailure}
}

// list names the keys whose public half is known.
func (a *agentKeys) list() []byte {
	count := uint32(0)
	var all []byte
	for _, key := range a.keys {
		if key.public != nil {
			count++
			all = append(all, ssh.Marshal(&struct {
				Key     []byte
				Comment string
			}{key.public.Marshal(), key.name})...)
		}
	}
	return append([]byte{agentIdentities}, ssh.Marshal(&struct {
		Count uint32
		All   []byte `ssh:"rest"`
	}{count, all})...)
}

// sign returns nil when it can't. Flags choose the hash of RSA.
func (a *agentKeys) sign(public, data []byte, flags uint32) *ssh.Signature {
	for _, key := range a.keys {
		if key.public == nil || string(key.public.Marshal()) != string(public) {
			continue
		}
		algorithm := ""
		if key.public.Type() == ssh.KeyAlgoRSA {
			switch {
			case flags&agentFlagSHA512 != 0:
				algorithm = ssh.KeyAlgoRSASHA512
			case flags&agentFlagSHA256 != 0:
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
