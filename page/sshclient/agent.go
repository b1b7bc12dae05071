package sshclient

import (
	"bytes"
	"crypto/rand"
	"errors"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentKeys are the keys with which programs of the server may sign. They can be listed and used, and
// nothing else: a server can neither add, nor remove, nor lock any.
type agentKeys struct {
	keys []*privateKey
	mu   sync.Mutex // one signature at a time, as it may ask a person
}

func newAgentKeys(keys []*privateKey) *agentKeys { return &agentKeys{keys: keys} }

// serve answers the server's requests, as long as the connection lasts.
func (a *agentKeys) serve(client *ssh.Client) { _ = agent.ForwardToAgent(client, a) }

// List returns the keys whose public half is known.
func (a *agentKeys) List() ([]*agent.Key, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*agent.Key
	for _, key := range a.keys {
		if public := key.PublicKey(); public != nil {
			list = append(list, &agent.Key{Format: public.Type(), Blob: public.Marshal(), Comment: key.name})
		}
	}
	return list, nil
}

// Sign signs by the key's default algorithm.
func (a *agentKeys) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.SignWithFlags(key, data, 0)
}

// SignWithFlags signs. Flags choose the hash of RSA.
func (a *agentKeys) SignWithFlags(public ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range a.keys {
		if key.PublicKey() == nil || !bytes.Equal(key.PublicKey().Marshal(), public.Marshal()) {
			continue
		}
		algorithm := ""
		if public.Type() == ssh.KeyAlgoRSA {
			switch flags {
			case agent.SignatureFlagRsaSha256:
				algorithm = ssh.KeyAlgoRSASHA256
			case agent.SignatureFlagRsaSha512:
				algorithm = ssh.KeyAlgoRSASHA512
			}
		}
		return key.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return nil, errors.New("the agent has no such key")
}

var errAgentReadOnly = errors.New("the keys of a forwarded agent can only be listed and used")

// Signers, Add, Remove, RemoveAll, Lock, Unlock and Extension are those of an agent that
// nobody may change.
func (a *agentKeys) Signers() ([]ssh.Signer, error) { return nil, errAgentReadOnly }
func (a *agentKeys) Add(agent.AddedKey) error       { return errAgentReadOnly }
func (a *agentKeys) Remove(ssh.PublicKey) error     { return errAgentReadOnly }
func (a *agentKeys) RemoveAll() error               { return errAgentReadOnly }
func (a *agentKeys) Lock([]byte) error              { return errAgentReadOnly }
func (a *agentKeys) Unlock([]byte) error            { return errAgentReadOnly }
func (a *agentKeys) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}
