package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/net/idna"
)

// ACME is whom certificates are had from, and for what.
type ACME struct {
	Directory string   // URL of the authority
	Email     string   // where it writes to; "" for nowhere
	CacheDir  string   // where certificates, keys and the account are kept
	Names     []string // that certificates are had for, in lower case
	// Tunnel reports whether a host is a tunnel's that there is now; nil = tunnels have
	// no certificates from here.
	Tunnel func(host string) bool
}

// Bounds of what is asked of an authority.
const (
	// tunnelIssues is for how many tunnels a certificate is had in tunnelPeriod: whoever may
	// open tunnels must not use up what the authority grants to a domain.
	tunnelIssues = 20
	tunnelPeriod = time.Hour
	// requestTimeout bounds one request to the authority.
	requestTimeout = 30 * time.Second
)

// An issuer has certificates from an authority, by tls-alpn-01 (RFC 8737): it asks for
// them at the port that they are for.
type issuer struct {
	ACME
	manager *autocert.Manager
	log     *slog.Logger

	mu    sync.Mutex
	known map[string]time.Time // under mu: tunnels that may have one, and until when that holds
	asked []time.Time          // under mu: when those of them came within tunnelPeriod that had none

	orders *orders
}

func newIssuer(a ACME, log *slog.Logger) (*issuer, error) {
	if err := os.MkdirAll(a.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("ACME_CACHE_DIR can't be made: %w", err)
	}
	probe, err := os.CreateTemp(a.CacheDir, ".probe-*")
	if err != nil {
		return nil, fmt.Errorf("ACME_CACHE_DIR can't be written to: %w", err)
	}
	probe.Close()
	_ = os.Remove(probe.Name())
	i := &issuer{ACME: a, log: log, known: make(map[string]time.Time), orders: newOrders()}
	i.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(a.CacheDir), Email: a.Email, HostPolicy: i.judge,
		Client: &acme.Client{DirectoryURL: a.Directory, HTTPClient: &http.Client{Timeout: requestTimeout}, UserAgent: "wsproxy"},
	}
	return i, nil
}

var (
	errName    = errors.New("no certificates are had for this name")
	errTunnels = errors.New("certificates were had for as many tunnels as may be in an hour")
)

// judge says whether a host may have a certificate. It is asked in each handshake.
func (i *issuer) judge(ctx context.Context, host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if slices.Contains(i.Names, host) {
		return nil
	}
	if i.Tunnel == nil || !i.Tunnel(host) {
		return errName
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	if now.Before(i.known[host]) {
		return nil
	}
	maps.DeleteFunc(i.known, func(_ string, until time.Time) bool { return !now.Before(until) })
	if _, err := i.manager.Cache.Get(ctx, host); err != nil { // none was had before
		i.asked = slices.DeleteFunc(i.asked, func(at time.Time) bool { return now.Sub(at) >= tunnelPeriod })
		if len(i.asked) >= tunnelIssues {
			return errTunnels
		}
		i.asked = append(i.asked, now)
	}
	i.known[host] = now.Add(tunnelPeriod)
	return nil
}

// certificate returns one for the name that a client asks for. Having it may take as long
// as the authority does, and goes on without the client: it waits no longer than its
// handshake's context allows.
func (i *issuer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if isChallenge(hello) {
		return i.manager.GetCertificate(hello)
	}
	name, err := idna.Lookup.ToASCII(hello.ServerName) // as the manager does
	if err != nil || !i.mayAsk(name) {
		return nil, errName
	}
	k, err := kindOf(hello)
	if err != nil {
		return nil, err
	}
	k.name = name
	return i.orders.get(hello.Context(), k, func() (*tls.Certificate, error) {
		certificate, err := i.manager.GetCertificate(k.hello())
		if err != nil && i.mayAsk(name) {
			i.log.Warn("no certificate can be had", "endpoint", "tls", "name", name, "error", err)
		}
		return certificate, err
	})
}

// mayAsk reports whether certificates are had for a name at all: whoever asks for another
// costs nothing.
func (i *issuer) mayAsk(name string) bool {
	name = strings.TrimSuffix(name, ".")
	return slices.Contains(i.Names, name) || i.Tunnel != nil && i.Tunnel(name)
}

// isChallenge reports whether the authority asks (RFC 8737, section 3).
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto})
}
