package play

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"wsproxy/internal/attack/wire"
)

// accessAddress is where the attacker's service behind Access listens; only
// port 443 can be asked for, and another program may have it on 127.0.0.1.
const (
	accessAddress = "127.44.0.1"
	accessName    = "access.test"
)

// AccessFiles are what a service behind Access needs, and a server that trusts
// it: a name that leads to loopback, and a certificate.
type AccessFiles struct {
	Certificate, Key string // of the service, in PEM
	Authority, Hosts string
}

// NewAccess writes the files into a folder.
func NewAccess(dir string) (*AccessFiles, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// It is its own authority.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: accessName}, DNSNames: []string{accessName},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f := &AccessFiles{Certificate: filepath.Join(dir, "service.pem"), Key: filepath.Join(dir, "key.pem"), Hosts: filepath.Join(dir, "hosts")}
	f.Authority = f.Certificate
	return f, errors.Join(
		os.WriteFile(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600),
		os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(f.Hosts, []byte("127.0.0.1 localhost\n"+accessAddress+" "+accessName+"\n"), 0o644))
}

// endlessStep is a multiple of a field of manyFields.
const endlessStep = 7 << 12

// endlessHandshake: relays to a service that answers the handshake with headers
// that never end.
func endlessHandshake(p *playing) error {
	if p.Access == nil {
		return errors.New("it needs root")
	}
	pair, err := tls.LoadX509KeyPair(p.Access.Certificate, p.Access.Key)
	if err != nil {
		return err
	}
	service, err := tls.Listen("tcp", net.JoinHostPort(accessAddress, "443"), &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	// Names that differ, values of some length, and a line that does not end.
	headers := [][]byte{
		manyFields(),
		bytes.Repeat([]byte("X-Header: "+strings.Repeat("v", 100)+"\r\n"), endlessStep/8),
		bytes.Repeat([]byte("x"), 8*endlessStep),
	}
	var asked atomic.Int64
	go wire.ServeAll(service, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 16<<10)); err != nil {
			return
		}
		fields := headers[int(asked.Add(1))%len(headers)]
		_, err := c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nX: "))
		for at := 0; err == nil && p.ctx.Err() == nil; at = (at + endlessStep) % len(fields) {
			_, err = c.Write(fields[at:min(at+endlessStep, len(fields))])
			p.count("KiB", endlessStep>>10)
		}
	})
	path := "/relay?" + url.Values{"cf_domain": {accessName}, "cf_id": {"id"}, "cf_secret": {"secret"}}.Encode()
	for i := range 3 {
		go func() {
			for p.pause(10 * time.Millisecond) {
				ws, err := wire.DialWS(p.ctx, wire.Source(wire.BlockUser, i), p.Server, path, 0)
				if !p.check(err) {
					continue
				}
				p.count("relays", 1)
				_, _, _ = ws.ReadMessage() // until it is closed
				ws.Close()
			}
		}()
	}
	return nil
}
