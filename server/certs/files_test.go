package certs

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

// A disk has the files of a test.
type disk struct {
	t         *testing.T
	cert, key string
	log       bytes.Buffer
}

func (d *disk) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&d.log, nil)) }

func (d *disk) write(path string, content []byte) {
	d.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func newDisk(t *testing.T) *disk {
	dir := t.TempDir()
	return &disk{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
}

// A pair that has changed is used; one that is broken leaves the old one, and is told once.
func TestFilesAreReloaded(t *testing.T) {
	d := newDisk(t)
	first, second, third := testkit.NewCertificate(t, "one.example"), testkit.NewCertificate(t, "two.example"), testkit.NewCertificate(t, "three.example")
	d.write(d.cert, first.Cert)
	d.write(d.key, first.Key)
	f, err := openFiles(d.cert, d.key, d.logger())
	if err != nil {
		t.Fatal(err)
	}
	want := func(name string, lines ...string) {
		t.Helper()
		if got := f.usable.Load().Leaf.DNSNames[0]; got != name {
			t.Errorf("used is that of %s, not %s", got, name)
		}
		text := d.log.String()
		d.log.Reset()
		if strings.Count(text, "\n") != len(lines) {
			t.Errorf("logged is %q, want %q", text, lines)
		}
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("logged is %q, want %q", text, line)
			}
		}
	}
	f.look()
	want("one.example")
	d.write(d.cert, second.Cert) // the key is still to come
	f.look()
	want("one.example")
	d.write(d.key, second.Key)
	f.look()
	want("two.example", "level=INFO")
	d.write(d.cert, []byte("rubbish"))
	for range 3 {
		f.look()
	}
	want("two.example", "level=WARN")
	d.write(d.cert, []byte("other rubbish"))
	for range 3 {
		f.look()
	}
	want("two.example", "level=WARN")
	d.write(d.cert, second.Cert)
	f.look()
	want("two.example")
	_ = os.Remove(d.key)
	for range 3 {
		f.look()
	}
	want("two.example", "TLS_KEY_FILE can't be read")
	d.write(d.cert, third.Cert)
	d.write(d.key, third.Key)
	f.look()
	want("three.example", "level=INFO")
}

func TestFilesThatCanNotBeUsed(t *testing.T) {
	one, other := testkit.NewCertificate(t, "one.example"), testkit.NewCertificate(t, "other.example")
	for want, write := range map[string]func(d *disk){
		"TLS_CERT_FILE can't be read": func(d *disk) { d.write(d.key, one.Key) },
		"TLS_KEY_FILE can't be read":  func(d *disk) { d.write(d.cert, one.Cert) },
		"are no certificate":          func(d *disk) { d.write(d.cert, one.Cert); d.write(d.key, other.Key) },
		"larger than":                 func(d *disk) { d.write(d.cert, make([]byte, maxFile+1)); d.write(d.key, one.Key) },
	} {
		d := newDisk(t)
		write(d)
		if _, err := Open(Options{CertFile: d.cert, KeyFile: d.key, Log: d.logger()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A Store looks by itself, and when it is told to.
func TestStoreWatches(t *testing.T) {
	d := newDisk(t)
	first, second := testkit.NewCertificate(t, "one.example"), testkit.NewCertificate(t, "two.example")
	d.write(d.cert, first.Cert)
	d.write(d.key, first.Key)
	s, err := Open(Options{CertFile: d.cert, KeyFile: d.key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	shown := func() string {
		c, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "whatever.example"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.DNSNames[0]
	}
	d.write(d.cert, second.Cert)
	d.write(d.key, second.Key)
	s.Reload()
	if got := shown(); got != "two.example" {
		t.Errorf("told to, it shows %s", got)
	}
	d.write(d.cert, first.Cert)
	d.write(d.key, first.Key)
	testkit.Eventually(t, "it looks by itself", func() bool { return shown() == "one.example" })
}
