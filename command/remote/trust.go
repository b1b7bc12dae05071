package remote

import (
	"crypto/tls"
	"crypto/x509"

	"wsproxy/command/cli"
)

// maxCABytes bounds the file of --ca. What a whole system trusts is some 250 KiB.
const maxCABytes = 4 << 20

// trust returns nil for what the system trusts.
func (f *Flags) trust() (*tls.Config, error) {
	switch {
	case f.CA != "" && f.Insecure:
		return nil, cli.Misuse("--ca and --insecure contradict each other: leave one out")
	case f.Insecure:
		return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, nil
	case f.CA == "":
		return nil, nil
	}
	pem, err := readBounded(f.CA, maxCABytes)
	if err != nil {
		return nil, cli.Misuse("the file of --ca can't be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, cli.Misuse("the file of --ca, %s, has no certificate in PEM: it must have lines %q", f.CA, "-----BEGIN CERTIFICATE-----")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}
