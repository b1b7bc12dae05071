package site

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSite(t *testing.T) {
	outside := t.TempDir()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"index.html": "<h1>home</h1>", "a.txt": "0123456789", "sub/b.txt": "b", ".env": "SECRET", ".git/config": "SECRET", "sub/.hidden": "SECRET",
	} {
		at := filepath.Join(folder, name)
		_ = os.MkdirAll(filepath.Dir(at), 0o755)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.WriteFile(filepath.Join(outside, "secret"), []byte("SECRET"), 0o600)
	for link, to := range map[string]string{"sub/out": filepath.Join(outside, "secret"), "sub/in": "b.txt"} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }}}
	defer client.CloseIdleConnections()
	get := func(path, span string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest("GET", "http://x"+path, nil)
		if span != "" {
			req.Header.Set("Range", span)
		}
		answer, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(b)
	}
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/":                  {200, "<h1>home</h1>"},
		"/index.html":        {200, "<h1>home</h1>"}, // by a redirect
		"/sub/b.txt":         {200, "b"},
		"/sub/in":            {200, "b"},
		"/sub/out":           {404, ""},
		"/.env":              {404, ""},
		"/%2eenv":            {404, ""},
		"/.git/config":       {404, ""},
		"/sub/..%2f.env":     {404, ""},
		"/../" + outside[1:]: {404, ""},
		"/none":              {404, ""},
	} {
		status, body := get(path, "")
		if status != want.status || want.body != "" && body != want.body || strings.Contains(body, "SECRET") {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, body := get("/a.txt", "bytes=2-4"); status != 206 || body != "234" {
		t.Errorf("a range: %d %q", status, body)
	}
	_, list := get("/sub/", "")
	if !strings.Contains(list, "b.txt") || !strings.Contains(list, `"in"`) || strings.Contains(list, "hidden") || strings.Contains(list, `"out"`) {
		t.Errorf("the list is %q", list)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	_ = os.WriteFile(file, nil, 0o600)
	for path, want := range map[string]string{file: "name the folder", file + "y": "can't be served"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
