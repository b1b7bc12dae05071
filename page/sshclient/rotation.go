package sshclient

import (
	"golang.org/x/crypto/ssh"

	"wsproxy/page/sshclient/knownhosts"
)

// maxHostKeys bounds what one server may add to known_hosts. OpenSSH's servers have three.
const maxHostKeys = 8

// A rotation is what is needed to learn a server's other host keys, OpenSSH's PROTOCOL, section 2.5.
type rotation struct {
	host   string
	port   int
	shown  ssh.PublicKey // by which the server is known by now
	known  knownhosts.File
	hooks  Hooks
	learns bool
}

// rotation returns what is to be done with keys that the server announces. Only a server whose key
// is kept itself, not by a certificate, tells others.
func (v *hostVerifier) rotation(hooks Hooks) rotation {
	return rotation{host: v.o.Host, port: v.o.Port, shown: v.accepted, known: v.known, hooks: hooks, learns: v.kept}
}

// watchHostKeys takes the server's announcements out of its requests, and passes the others on.
func (c *Client) watchHostKeys(from <-chan *ssh.Request, to chan<- *ssh.Request, r rotation) {
	defer close(to)
	done := false
	for request := range from {
		if request.Type != "hostkeys-00@openssh.com" {
			to <- request
			continue
		}
		_ = request.Reply(false, nil)
		if r.learns && !done {
			done = true
			go c.learnHostKeys(request.Payload, r)
		}
	}
}

// learnHostKeys remembers the announced keys that are new, if the server proves to have them.
func (c *Client) learnHostKeys(payload []byte, r rotation) {
	var fresh []ssh.PublicKey
	var question []byte
	for _, blob := range takeStrings(payload, maxHostKeys) {
		key, err := ssh.ParsePublicKey(blob)
		if err != nil {
			continue // of a kind that isn't known here
		}
		if _, isCert := key.(*ssh.Certificate); isCert || r.known.Revoked(r.host, r.port, key) || r.has(key) {
			continue
		}
		fresh = append(fresh, key)
		question = append(question, ssh.Marshal(&struct{ Blob []byte }{blob})...)
	}
	if len(fresh) == 0 {
		return
	}
	ok, answer, err := c.client.SendRequest("hostkeys-prove-00@openssh.com", true, question)
	if err != nil || !ok {
		return
	}
	signatures := takeStrings(answer, maxHostKeys)
	if len(signatures) != len(fresh) {
		return
	}
	for i, key := range fresh {
		if proves(key, signatures[i], c.client.SessionID()) {
			r.hooks.Remember(knownhosts.Line(r.host, r.port, key))
		}
	}
}

func (r rotation) has(key ssh.PublicKey) bool {
	return knownhosts.Equal(r.shown, key) || r.known.Has(r.host, r.port, key)
}

// proves checks a server's signature by which it shows that it has a key.
func proves(key ssh.PublicKey, blob, session []byte) bool {
	var signature ssh.Signature
	if ssh.Unmarshal(blob, &signature) != nil || len(signature.Rest) > 0 || signature.Format == ssh.KeyAlgoRSA {
		return false
	}
	signed := ssh.Marshal(&struct {
		Name    string
		Session []byte
		Key     []byte
	}{"hostkeys-prove-00@openssh.com", session, key.Marshal()})
	return key.Verify(signed, &signature) == nil
}

// takeStrings takes up to limit strings of the SSH wire format from the front of data.
func takeStrings(data []byte, limit int) [][]byte {
	var taken [][]byte
	for len(data) > 0 && len(taken) < limit {
		var next struct {
			Text []byte
			Rest []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(data, &next) != nil {
			return taken
		}
		taken, data = append(taken, next.Text), next.Rest
	}
	return taken
}
