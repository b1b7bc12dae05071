package sshclient

import (
	"context"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/page/sshclient/knownhosts"
)

// A hostVerifier decides whether a server is the one that it should be.
type hostVerifier struct {
	ctx      context.Context
	o        *Options
	hooks    Hooks
	known    knownhosts.File
	answered *time.Timer // bounds the wait for the server

	accepted ssh.PublicKey // the key that the server has shown, or its certificate
	kept     bool          // whether it is in known_hosts, or will be
}

// verify is an ssh.HostKeyCallback.
func (v *hostVerifier) verify(_ string, _ net.Addr, shown ssh.PublicKey) error {
	if v.accepted != nil {
		// Keys are exchanged anew from time to time. Who the server is has been decided.
		if knownhosts.Equal(v.accepted, shown) {
			return nil
		}
		return failure(CodeHostKey, nil, "%s has shown another host key in the middle of the connection.", v.o.Host)
	}
	// From here on a person may be thinking.
	v.answered.Stop()
	if err := v.decide(shown); err != nil {
		return err
	}
	v.accepted = shown
	v.hooks.Step(StepAuthentication, v.o.Host)
	return nil
}

func (v *hostVerifier) decide(shown ssh.PublicKey) error {
	host, port := v.o.Host, v.o.Port
	key, note := shown, ""
	if cert, ok := shown.(*ssh.Certificate); ok {
		if v.known.Revoked(host, port, cert.Key, cert.SignatureKey) {
			return v.ask(HostKeyRevoked, cert.Key, nil, "")
		}
		key = cert.Key
		if v.known.IsAuthority(host, port, cert.SignatureKey) {
			err := checkHostCertificate(cert, host)
			if err == nil {
				return nil
			}
			note = "The server's certificate is not valid: " + err.Error() + "."
		}
		// As OpenSSH does, a certificate of which nothing is known is taken for its key.
	}
	if v.known.Revoked(host, port, key) {
		return v.ask(HostKeyRevoked, key, nil, note)
	}
	if v.known.Has(host, port, key) {
		v.kept = true
		return nil
	}
	if others := v.known.Keys(host, port); len(others) > 0 {
		return v.ask(HostKeyChanged, key, others, note)
	}
	if v.known.Has(host, 22, key) {
		return nil // as with OpenSSH
	}
	return v.ask(HostKeyNew, key, nil, note)
}

// checkHostCertificate checks all but who has signed the certificate.
func checkHostCertificate(cert *ssh.Certificate, host string) error {
	if cert.CertType != ssh.HostCert {
		return failure(CodeHostKey, nil, "it is one of a user")
	}
	if len(cert.ValidPrincipals) == 0 {
		return failure(CodeHostKey, nil, "it names no host")
	}
	checker := ssh.CertChecker{}
	if err := checker.CheckCert(host, cert); err != nil {
		return failure(CodeHostKey, err, "%s", Printable(trimSSH(err), maxReason))
	}
	return nil
}

func (v *hostVerifier) ask(state string, key ssh.PublicKey, others []ssh.PublicKey, note string) error {
	q := HostKeyQuestion{
		State: state, Host: v.o.Host, Port: v.o.Port,
		Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
		KnownHostsLine: knownhosts.Line(v.o.Host, v.o.Port, key),
		Note:           note,
	}
	for _, other := range others {
		q.Known = append(q.Known, KnownKey{other.Type(), ssh.FingerprintSHA256(other)})
	}
	decision, err := v.hooks.HostKey(v.ctx, q)
	if err != nil {
		decision = Refuse
	}
	name := net.JoinHostPort(v.o.Host, strconv.Itoa(v.o.Port))
	switch {
	case state == HostKeyRevoked:
		return failure(CodeHostKey, err, "The host key of %s has been revoked. Somebody may be posing as the server.", name)
	case state == HostKeyChanged:
		return failure(CodeHostKey, err, "The host key of %s has changed. Somebody may be posing as the server.", name)
	case decision == Remember:
		v.kept = true
		v.hooks.Remember(q.KnownHostsLine)
		return nil
	case decision == Once:
		return nil
	}
	return failure(CodeHostKey, err, "The host key of %s was not accepted.", name)
}
