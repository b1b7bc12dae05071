package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := OpenUnix(path, 0o622)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o622 || l.Addr().String() != path {
		t.Errorf("it is %v, %v, and calls itself %s", info.Mode(), err, l.Addr())
	}
	if _, err := OpenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "a server listens at "+path+" already") {
		t.Errorf("while a server listens: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the refused one has taken the socket away: %v", err)
	}
	conn.Close()
	l.Close()
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("at the end there is %v", entries)
	}
	if l.Close() == nil {
		t.Error("it can be closed twice")
	}
}

// What a server that was killed has left is replaced; a server's own end takes away
// nothing of another's.
func TestOpenUnixAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	first, err := OpenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path)
	second, err := OpenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the end of one server took the socket of another away: %v", err)
	} else {
		conn.Close()
	}
}

// Nothing but a socket is replaced.
func TestOpenUnixSparesFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file has %q, %v", text, err)
	}
	if _, err := OpenUnix(filepath.Join(path, "s"), 0o600); err == nil {
		t.Error("a path below a file was taken")
	}
	if _, err := OpenUnix(filepath.Join(filepath.Dir(path), "none", "s"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
}
