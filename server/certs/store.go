package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// Options are where certificates come from: files, an authority, or both.
type Options struct {
	CertFile, KeyFile string // "" for none
	ACME              *ACME  // nil for none
	Log               *slog.Logger
}

// A Store has certificates. Its methods may be called by many goroutines.
type Store struct {
	files  *files  // nil for none
	issuer *issuer // nil for none
	stop   chan struct{}
	close  func()
	own    func() (*tls.Certificate, error)
}

// Open reads what there is, and begins to look whether it changes. The error is a
// sentence. Whoever has the Store closes it.
func Open(o Options) (*Store, error) {
	s := &Store{stop: make(chan struct{}), own: sync.OnceValues(ownCertificate)}
	s.close = sync.OnceFunc(func() { close(s.stop) })
	var err error
	if o.ACME != nil {
		if s.issuer, err = newIssuer(*o.ACME, o.Log); err != nil {
			return nil, err
		}
	}
	if o.CertFile != "" {
		if s.files, err = openFiles(o.CertFile, o.KeyFile, o.Log); err != nil {
			return nil, err
		}
		go s.files.watch(s.stop)
	}
	return s, nil
}

// Close ends the looking.
func (s *Store) Close() { s.close() }

// Reload reads the files now, and uses them if they have changed and can be used.
func (s *Store) Reload() {
	if s.files != nil {
		s.files.look()
	}
}

// TLS returns the configuration of a listener that speaks HTTP/1.1, and no other protocol
// but that of the authority's questions.
func (s *Store) TLS() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: s.certificate}
	if s.issuer != nil {
		c.NextProtos = append(c.NextProtos, acme.ALPNProto)
	}
	return c
}

// Silent returns the protocol whose connections end with their handshake, "" for none.
func (s *Store) Silent() string {
	if s.issuer == nil {
		return ""
	}
	return acme.ALPNProto
}

// certificate returns what a client is shown. Files come before the authority for the
// names that they are for. A client that asks for no name knows an address alone, as
// the health check of this machine does, and doesn't look at the certificate.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var ofFiles *tls.Certificate
	if s.files != nil {
		ofFiles = s.files.usable.Load()
	}
	switch {
	case s.issuer == nil:
		return ofFiles, nil
	case isChallenge(hello):
		return s.issuer.certificate(hello)
	case ofFiles != nil && (hello.ServerName == "" || ofFiles.Leaf.VerifyHostname(hello.ServerName) == nil):
		return ofFiles, nil
	case hello.ServerName == "":
		return s.own()
	}
	return s.issuer.certificate(hello)
}

// ownCertificate makes one that signs itself, for nothing.
func ownCertificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
