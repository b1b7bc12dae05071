package tap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// dialTimeout bounds the opening of a connection to a service. Most are on this
// machine, where it takes no time.
const dialTimeout = 10 * time.Second

// An Address is a service that is reached over TCP, with TLS or without.
type Address struct {
	// Name is how the user named it.
	Name string
	Host string // a name, or an address without brackets
	Port string
	// TLS is not nil for a service that speaks it.
	TLS *tls.Config

	last atomic.Int32 // which of the addresses of localhost answered last
}

// String returns the name.
func (a *Address) String() string { return a.Name }

// hosts are what is tried. Programs listen at one of the two that localhost stands
// for, and not all systems name both.
func (a *Address) hosts() []string {
	if !strings.EqualFold(strings.TrimSuffix(a.Host, "."), "localhost") {
		return []string{a.Host}
	}
	if a.last.Load() == 1 {
		return []string{"::1", "127.0.0.1"}
	}
	return []string{"127.0.0.1", "::1"}
}

// Dial opens a connection.
func (a *Address) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := net.Dialer{}
	hosts := a.hosts()
	var first error
	for _, host := range hosts {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, a.Port))
		if err != nil {
			// That there is no IPv6 here is not what the user wants to know.
			if first == nil {
				first = err
			}
			continue
		}
		if len(hosts) > 1 {
			which := int32(0)
			if host == "::1" {
				which = 1
			}
			a.last.Store(which)
		}
		if a.TLS == nil {
			return conn, nil
		}
		secured := tls.Client(conn, a.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, a.failed(err)
		}
		return secured, nil
	}
	return nil, a.failed(first)
}

// failed says in a sentence why there is no connection.
func (a *Address) failed(err error) error {
	at := net.JoinHostPort(a.Host, a.Port)
	why := err
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || isRefused(err):
		return &DialError{fmt.Sprintf("nothing listens at %s (connection refused)", at), err}
	case errors.Is(err, context.DeadlineExceeded):
		return &DialError{fmt.Sprintf("%s does not answer within %v", at, dialTimeout), err}
	case errors.As(err, &dns):
		return &DialError{fmt.Sprintf("the name %s can't be resolved", a.Host), err}
	case errors.As(err, &notTLS):
		return &DialError{fmt.Sprintf("%s does not speak TLS: expose it as http://%s", at, at), err}
	case errors.As(err, &certificate):
		return &DialError{fmt.Sprintf("the certificate of %s can't be verified (%v)", at, certificate.Err), err}
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		why = op.Err
	}
	return &DialError{fmt.Sprintf("%s can't be reached (%v)", at, why), err}
}

// A DialError says in a sentence why a service can't be reached.
type DialError struct {
	Sentence string
	Err      error
}

// Error returns the sentence.
func (e *DialError) Error() string { return e.Sentence }

// Unwrap returns the error of the network.
func (e *DialError) Unwrap() error { return e.Err }

// isRefused knows the number that Windows has for it.
func isRefused(err error) bool {
	const wsaeconnrefused = syscall.Errno(10061)
	var number syscall.Errno
	return errors.As(err, &number) && number == wsaeconnrefused
}
