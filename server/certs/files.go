package certs

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// fileLook is how often is looked whether the files have changed, which costs reading them.
const fileLook = 2 * time.Second

// maxFile bounds a file, in bytes: a chain of certificates has some thousand.
const maxFile = 1 << 20

// A pair is what two files had in them at once.
type pair struct{ cert, key []byte }

func (p pair) equals(q pair) bool { return bytes.Equal(p.cert, q.cert) && bytes.Equal(p.key, q.key) }

// files are a certificate and its key on disk.
type files struct {
	certFile, keyFile string
	log               *slog.Logger
	usable            atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	used   pair // under mu: what usable was made of
	broken pair // under mu: what was found to be of no use, at the last look
	told   bool // under mu: of broken
}

// openFiles reads both files. The error says what is wrong with them.
func openFiles(certFile, keyFile string, log *slog.Logger) (*files, error) {
	f := &files{certFile: certFile, keyFile: keyFile, log: log}
	p, certificate, err := f.read()
	if err != nil {
		return nil, err
	}
	f.used = p
	f.usable.Store(certificate)
	return f, nil
}

func (f *files) read() (p pair, certificate *tls.Certificate, err error) {
	if p.cert, err = readFile(f.certFile); err != nil {
		return p, nil, fmt.Errorf("TLS_CERT_FILE can't be read: %w", err)
	}
	if p.key, err = readFile(f.keyFile); err != nil {
		return p, nil, fmt.Errorf("TLS_KEY_FILE can't be read: %w", err)
	}
	loaded, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return p, nil, fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE are no certificate and its key: %w", err)
	}
	return p, &loaded, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// look reads the files, and uses them if they have changed and can be used. What is broken
// may be half written: it is told once, when it was found a second time.
func (f *files) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, certificate, err := f.read()
	switch {
	case err == nil && p.equals(f.used):
		f.broken, f.told = pair{}, false
	case err == nil:
		f.used, f.broken, f.told = p, pair{}, false
		f.usable.Store(certificate)
		f.log.Info("the certificate has changed, and is used from now on", "file", f.certFile, "until", certificate.Leaf.NotAfter)
	case !f.told && f.broken.equals(p) && (p.cert != nil || f.broken.cert == nil):
		f.told = true
		f.log.Warn("the certificate was changed and can't be used: the old one stays", "error", err)
	case !f.broken.equals(p):
		f.broken, f.told = p, false
	}
}

// watch looks until stop is closed.
func (f *files) watch(stop <-chan struct{}) {
	look := time.NewTicker(fileLook)
	defer look.Stop()
	for {
		select {
		case <-stop:
			return
		case <-look.C:
			f.look()
		}
	}
}
