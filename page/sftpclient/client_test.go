package sftpclient

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.write(t, "file", []byte("12345"))
	at := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(s.path("file"), at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", s.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", s.path("broken")); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List(t.Context(), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	var got []string
	for _, e := range entries {
		if e.Path != s.path(e.Name) {
			t.Errorf("%s is at %s", e.Name, e.Path)
		}
		got = append(got, fmt.Sprint(e.Name, " ", e.Type, " ", e.Target))
	}
	if want := []string{"broken link nowhere", "directory directory ", "file file ", "link link file"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	file := entries[2]
	if file.Size != 5 || file.Mode != 0o644 || !file.Modified.Equal(at) || file.Owner != fmt.Sprint(os.Getuid()) {
		t.Errorf("the file is %+v", file)
	}
	followed, err := s.Stat(t.Context(), s.path("link"))
	if err != nil || followed.Type != TypeFile || followed.Size != 5 || followed.Name != "link" {
		t.Errorf("the link leads to %+v, %v", followed, err)
	}
	if real, err := s.RealPath(t.Context(), s.path("directory/../file")); err != nil || real != s.path("file") {
		t.Errorf("the real path is %q, %v", real, err)
	}
	_, err = s.List(t.Context(), s.path("nowhere"))
	expectCode(t, err, CodeNotFound, s.path("nowhere"))
	_, err = s.Stat(t.Context(), s.path("broken"))
	expectCode(t, err, CodeNotFound)
}

func TestNamesStayInTheirDirectory(t *testing.T) {
	for name, safe := range map[string]bool{"a": true, "..a": true, "a\nb": true, "": false, ".": false, "..": false, "a/b": false, "/": false, "a\x00": false} {
		if safeName(name) != safe {
			t.Errorf("%q is safe: %v, want %v", name, !safe, safe)
		}
	}
}

func TestMkdirAndRename(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.Mkdir(t.Context(), s.path("a")); err != nil {
		t.Fatal(err)
	}
	expectCode(t, s.Mkdir(t.Context(), s.path("a")), CodeExists)
	expectCode(t, s.Mkdir(t.Context(), s.path("no/b")), CodeNotFound)
	if err := s.Rename(t.Context(), s.path("a"), s.path("b")); err != nil {
		t.Fatal(err)
	}
	s.write(t, "file", []byte("1"))
	s.write(t, "other", []byte("2"))
	expectCode(t, s.Rename(t.Context(), s.path("file"), s.path("other")), CodeExists)
	if got := s.read(t, "other"); string(got) != "2" {
		t.Errorf("a file was replaced by %q", got)
	}
	expectCode(t, s.Rename(t.Context(), s.path("none"), s.path("new")), CodeNotFound)
}

func TestRemove(t *testing.T) {
	t.Parallel()
	s := start(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "stays"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		dir := s.path(fmt.Sprintf("tree/%d/deep/deeper", i%3))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, s.path("tree/link")); err != nil {
		t.Fatal(err)
	}
	s.write(t, "file", nil)
	if err := s.Remove(t.Context(), s.path("file"), false); err != nil {
		t.Error(err)
	}
	expectCode(t, s.Remove(t.Context(), s.path("file"), false), CodeNotFound)
	expectCode(t, s.Remove(t.Context(), s.path("tree"), false), CodeFailed, "not empty")
	if err := s.Remove(t.Context(), s.path("tree"), true); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.path("tree")); !os.IsNotExist(err) {
		t.Errorf("the tree is still there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "stays")); err != nil {
		t.Errorf("what a link leads to was removed: %v", err)
	}
	if err := os.Mkdir(s.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), s.path("empty"), false); err != nil {
		t.Error(err)
	}
}

// A server that says what is no SFTP is told apart, and closed.
func TestNoSFTP(t *testing.T) {
	ours, theirs := io.Pipe()
	closed := make(chan struct{})
	go func() {
		_, _ = theirs.Write([]byte("\x00\x00\x00\x05This account is not available.\n"))
		_ = theirs.Close()
	}()
	_, err := New(&pipe{ours, closed})
	if err == nil {
		t.Fatal("it was taken for SFTP")
	}
	expectCode(t, err, CodeFailed, "does not speak SFTP")
	<-closed
	_ = ours.Close()
}

type pipe struct {
	io.Reader
	closed chan struct{}
}

func (p *pipe) Write(b []byte) (int, error) { return len(b), nil }
func (p *pipe) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}
