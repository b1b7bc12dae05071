package certs

import (
	"context"
	"crypto/tls"
	"sync"
)

// A kind of certificate is what is ordered: a name, for a kind of clients.
type kind struct {
	name string
	rsa  bool // for clients that know no ECDSA
}

// ecdsaCertificate is what clients are tried with: nobody is shown it.
var ecdsaCertificate = sync.OnceValues(ownCertificate)

// kindOf returns the kind without its name.
func kindOf(hello *tls.ClientHelloInfo) (kind, error) {
	certificate, err := ecdsaCertificate()
	if err != nil {
		return kind{}, err
	}
	anyName := *hello
	anyName.ServerName = ""
	return kind{rsa: anyName.SupportsCertificate(certificate) != nil}, nil
}

// hello is one that autocert answers with this kind.
func (k kind) hello() *tls.ClientHelloInfo {
	h := &tls.ClientHelloInfo{ServerName: k.name}
	if !k.rsa {
		h.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	}
	return h
}

// An order is under way until done is closed; then the rest is set.
type order struct {
	done        chan struct{}
	certificate *tls.Certificate
	err         error
}

// orders keep handshakes from waiting in autocert, which takes no context and, while an
// authority is silent, has whoever asks wait for minutes: a stranger's connection would be
// gone long before its goroutine. Instead each kind has one goroutine while it is ordered,
// and handshakes wait for that as long as their connections are there, whose number is
// bounded.
type orders struct {
	mu    sync.Mutex
	under map[kind]*order // under mu: those under way
	had   map[kind]bool   // under mu: those that were had: autocert keeps them, and answers at once
}

func newOrders() *orders {
	return &orders{under: make(map[kind]*order), had: make(map[kind]bool)}
}

// get returns what ask does, which it calls once for all that ask for a kind meanwhile; or
// ctx's error if that is done first.
func (o *orders) get(ctx context.Context, k kind, ask func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	o.mu.Lock()
	if o.had[k] {
		o.mu.Unlock()
		return ask()
	}
	asked := o.under[k]
	if asked == nil {
		asked = &order{done: make(chan struct{})}
		o.under[k] = asked
		go func() {
			asked.certificate, asked.err = ask()
			o.mu.Lock()
			delete(o.under, k)
			if asked.err == nil {
				o.had[k] = true
			}
			o.mu.Unlock()
			close(asked.done)
		}()
	}
	o.mu.Unlock()
	select {
	case <-asked.done:
		return asked.certificate, asked.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
