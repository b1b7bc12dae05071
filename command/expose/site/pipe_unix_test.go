//go:build !windows

package site

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe is not there, by itself, by a link and in the list of its folder: who
// opens one waits until somebody writes.
func TestPipeIsNotServed(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink("pipe", filepath.Join(folder, "link"))
	_ = os.WriteFile(filepath.Join(folder, "file"), nil, 0o600)
	s, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }}}
	for path, want := range map[string]int{"/pipe": 404, "/link": 404, "/": 200} {
		answer, err := client.Get("http://x" + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want || err != nil || strings.Contains(string(body), "link") {
			t.Errorf("%s: %d %q %v", path, answer.StatusCode, body, err)
		}
	}
	if end, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // whoever waits goes on
		end.Close()
	}
}
