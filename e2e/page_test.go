package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// pageBinary returns the path of the server as it is released, with the page of
// the web terminal. It is WSPROXY_BINARY, if that is set, or built at the first
// call, for which node and npm are needed.
var pageBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WSPROXY_BINARY"); path != "" {
		return path, nil
	}
	path := binaryPath + "-page"
	out, err := makes("build", "PAGE=yes", "BIN="+path).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the server can't be built with its page: %w\n%s", err, out)
	}
	return path, nil
})

// pageServer starts a server whose build has the page.
func pageServer(t *testing.T, env ...string) *server {
	t.Helper()
	path, err := pageBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := launchBinary(t, path, env...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return s
}

// A builtFile is what the build says of a file of the page.
type builtFile struct {
	Hash      string
	Type      string
	Immutable bool
	Size      int
}

func builtFiles(t *testing.T) map[string]builtFile {
	t.Helper()
	list := make(map[string]builtFile)
	if err := json.Unmarshal(built(t, "files.json"), &list); err != nil || len(list) < 4 {
		t.Fatalf("the build lists %d files, %v", len(list), err)
	}
	return list
}

// built is a file of page/dist as it lies there.
func built(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "page", "dist", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// get asks for a path as a client of Go's that unpacks nothing.
func (s *server) get(t *testing.T, method, path, host string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response, body
}

// Every file of the page is served as it was built, in each coding byte for
// byte, and what names others names what is there.
func TestPageFiles(t *testing.T) {
	t.Parallel()
	s := pageServer(t, "WEB_TERMINAL=on")
	files := builtFiles(t)
	for name, file := range files {
		path, cache := "/"+name, "public, max-age=31536000, immutable"
		if !file.Immutable {
			cache = "no-cache"
		}
		packed := strings.HasSuffix(name, ".png") // by itself: it lies there as it is
		vary := "Accept-Encoding"
		if packed {
			vary = ""
		}
		tags := make(map[string]bool)
		for _, c := range []struct{ accept, coding, suffix string }{{"identity", "", ""}, {"gzip, br;q=0.1", "gzip", ".gz"}, {"gzip, deflate, br, zstd", "br", ".br"}} {
			if packed {
				c.coding, c.suffix = "", ""
			}
			want := built(t, name+c.suffix)
			response, body := s.get(t, "GET", path, "", "Accept-Encoding", c.accept)
			got := response.Header
			if response.StatusCode != 200 || !bytes.Equal(body, want) || int(response.ContentLength) != len(want) || got.Get("Content-Encoding") != c.coding {
				t.Errorf("%s with %q: %d, %d bytes of %d, coding %q", path, c.accept, response.StatusCode, len(body), len(want), got.Get("Content-Encoding"))
			}
			if got.Get("Content-Type") != file.Type || got.Get("Cache-Control") != cache || got.Get("Vary") != vary || got.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s has the headers %v", path, got)
			}
			policy := got.Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'", "connect-src 'self' ws://" + s.addr + " wss://" + s.addr + ";"} {
				if !strings.Contains(policy, part) {
					t.Errorf("%s has the policy %q, without %q", path, policy, part)
				}
			}
			if strings.Contains(policy, "'unsafe-eval'") || strings.Contains(policy, "script-src 'self' 'unsafe-inline'") || strings.Contains(policy, "*") {
				t.Errorf("%s has a lax policy: %q", path, policy)
			}
			tag := got.Get("ETag")
			if tags[tag] && !packed || !strings.HasPrefix(tag, `"`+file.Hash) {
				t.Errorf("%s with %q has the tag %s, hash %s", path, c.accept, tag, file.Hash)
			}
			tags[tag] = true
			head, none := s.get(t, "HEAD", path, "", "Accept-Encoding", c.accept)
			if head.StatusCode != 200 || len(none) > 0 || head.ContentLength != response.ContentLength || head.Header.Get("ETag") != tag {
				t.Errorf("HEAD %s: %d %v", path, head.StatusCode, head.Header)
			}
			same, none := s.get(t, "GET", path, "", "Accept-Encoding", c.accept, "If-None-Match", "W/"+tag)
			if same.StatusCode != 304 || len(none) > 0 || same.Header.Get("ETag") != tag || same.Header.Get("Cache-Control") != cache {
				t.Errorf("%s again: %d %v, %d bytes", path, same.StatusCode, same.Header, len(none))
			}
		}
		if packed {
			continue
		}
		if r, err := gzip.NewReader(bytes.NewReader(built(t, name+".gz"))); err != nil {
			t.Error(err)
		} else if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, built(t, name)) || len(plain) != file.Size {
			t.Errorf("%s is not what its gzip form is of, %v", name, err)
		}
	}

	index, body := s.get(t, "GET", "/", "")
	if !bytes.Equal(body, built(t, "index.html")) || index.Header.Get("ETag") != `"`+files["index.html"].Hash+`"` || index.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("/ is answered %v", index.Header)
	}
	if bytes.Contains(body, []byte("<script>")) || bytes.Contains(body, []byte("<style")) || bytes.Contains(body, []byte("style=")) {
		t.Error("there is something inline in it, which the policy forbids")
	}
	s.follow(t, "/", body, make(map[string]bool), files)
}

// follow asks for whatever a file names, and what that names.
func (s *server) follow(t *testing.T, path string, content []byte, seen map[string]bool, files map[string]builtFile) {
	t.Helper()
	for _, match := range regexp.MustCompile(`(?:(?:src|href)="|"src": ?"|url\()(/[^")]*)`).FindAllSubmatch(content, -1) {
		named := string(match[1])
		if _, listed := files[strings.TrimPrefix(named, "/")]; !listed && named != "/" {
			t.Errorf("%s names %s, which is no file of the page", path, named)
		}
		if seen[named] {
			continue
		}
		seen[named] = true
		response, body := s.get(t, "GET", named, "")
		if response.StatusCode != 200 {
			t.Errorf("%s names %s, which is answered %d", path, named, response.StatusCode)
		}
		s.follow(t, named, body, seen, files)
	}
	if path == "/" && len(seen) < 3 {
		t.Errorf("the page names %v", seen)
	}
}

// What is no file of the page is what it is without one.
func TestPageAndOtherPaths(t *testing.T) {
	t.Parallel()
	port := tunnelPorts(t, 1)
	s := pageServer(t, "WEB_TERMINAL=on", "ALLOWED_ORIGINS=https://app.example", "TUNNEL_DOMAIN="+tunnelDomain, "TUNNEL_BIND=127.0.0.1",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", port), fmt.Sprintf("TUNNEL_PORT_MAX=%d", port))
	for _, path := range []string{"/files.json", "/index.html.gz", "/INDEX.HTML", "/index.html/", "//", "//index.html", "/./index.html", "/../go.mod", "/..%2f..%2fgo.mod", "/%2e%2e/go.mod", "/..\\go.mod",
		"/dist/index.html", "/.made-of", "/none.js", "/web-terminal.json/", "/%00", "/healthz", "/relay/", "/index.html%00"} {
		r := ask(t, s, "GET", path)
		if r.status != 404 {
			t.Errorf("%s is answered %d", path, r.status)
		}
		oneSentence(t, r)
	}
	for _, path := range []string{"/", "/index.html?x=1", "/web-terminal.json"} {
		r := ask(t, s, "GET", path, "Origin: https://app.example")
		if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s is answered %d %v", path, r.status, r.header)
		}
		for method, want := range map[string]int{"POST": 405, "PUT": 405, "BREW": 405, "OPTIONS": 204} {
			if r := ask(t, s, method, path, "Content-Length: 0"); r.status != want || r.header.Get("Allow") != "GET, HEAD, OPTIONS" {
				t.Errorf("%s %s is answered %d %v", method, path, r.status, r.header)
			}
		}
		if r := ask(t, s, "POST", path, "Content-Length: 10"); r.status != 405 {
			t.Errorf("POST %s with a body that doesn't come is answered %d %v", path, r.status, r.header)
		}
	}
	for path, want := range map[string]int{"/health": 200, "/health/live": 200, "/relay?host=a.example&port=22": 403, "/tunnel": 426, "/tunnel/ask": 404} {
		if r := ask(t, s, "GET", path); r.status != want {
			t.Errorf("%s is answered %d, want %d", path, r.status, want)
		}
	}
	// A tunnel's host is the tunnel's, before it is there and then.
	c := tunnelOpen(t, s, tunnelScript{})
	host := strings.TrimPrefix(strings.TrimPrefix(c.url, "https://"), "http://")
	for _, path := range []string{"/", "/index.html", "/web-terminal.json"} {
		if response, body := s.get(t, "GET", path, host); response.StatusCode != 200 || string(body) != path || response.Header.Get("Content-Security-Policy") != "" {
			t.Errorf("a tunnel's %s is %d %q", path, response.StatusCode, body)
		}
		if response, _ := s.get(t, "GET", path, "0123456789abcdef."+tunnelDomain); response.StatusCode != 404 || response.Header.Get("Content-Security-Policy") != "" {
			t.Errorf("%s of no tunnel is answered %d", path, response.StatusCode)
		}
	}
	// Whoever drains serves the page: who is connected may load it anew.
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	if r := ask(t, s, "GET", "/"); r.status != 200 {
		t.Errorf("while draining / is answered %d", r.status)
	}
	c.bye(t)
}

// What the page must know of its server is what the settings say.
func TestPageSettings(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	for _, c := range []struct {
		env       []string
		want      map[string]any
		ancestors string
	}{
		{nil, map[string]any{"auth": false, "tunnels": false, "tunnelNames": false, "ancestors": []any{}}, "'none'"},
		{[]string{"CLERK_JWKS_URL=" + keys.url, "TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_NAME_SECRET=" + strings.Repeat("s3", 16), "WEB_TERMINAL_ANCESTORS=https://App.example,http://localhost:5173"},
			map[string]any{"auth": true, "tunnels": true, "tunnelNames": true, "ancestors": []any{"https://app.example", "http://localhost:5173"}}, "https://app.example http://localhost:5173"},
		{[]string{"TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_NAME_SECRET=" + strings.Repeat("s3", 16)}, map[string]any{"auth": false, "tunnels": true, "tunnelNames": false, "ancestors": []any{}}, "'none'"},
	} {
		s := pageServer(t, append(c.env, "WEB_TERMINAL=on")...)
		r := ask(t, s, "GET", "/web-terminal.json")
		var got map[string]any
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.header.Get("Cache-Control") != "no-store" || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("it is %q %v, %v", r.body, r.header, err)
		}
		if version, _ := got["version"].(string); version == "" || strings.ContainsAny(version, " (") {
			t.Errorf("the version is %q", version)
		}
		for name, want := range c.want {
			if fmt.Sprint(got[name]) != fmt.Sprint(want) {
				t.Errorf("%q: %s is %v, want %v", c.env, name, got[name], want)
			}
		}
		if policy := ask(t, s, "GET", "/").header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "; frame-ancestors "+c.ancestors) {
			t.Errorf("%q: the policy is %q", c.env, policy)
		}
		if strings.Contains(r.body, "s3s3") || strings.Contains(r.body, keys.url) {
			t.Errorf("it says too much: %s", r.body)
		}
	}
}

// By default there is no page, whatever the build has; and a build without it
// says so.
func TestWithoutPage(t *testing.T) {
	t.Parallel()
	for _, s := range []*server{pageServer(t), pageServer(t, "WEB_TERMINAL=off"), start(t)} {
		for _, path := range []string{"/", "/index.html", "/web-terminal.json"} {
			r := ask(t, s, "GET", path)
			if r.status != 404 || !strings.HasPrefix(r.body, "There is nothing here: ") || r.header.Get("Content-Security-Policy") != "" {
				t.Errorf("%s is answered %d %q", path, r.status, r.body)
			}
		}
	}
	s := start(t, "WEB_TERMINAL=on") // built without
	s.waitLog(t, "there is no web terminal to serve")
	if r := ask(t, s, "GET", "/"); r.status != 404 || !strings.Contains(r.body, "make build") || r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("/ is answered %d %q", r.status, r.body)
	}
	if r := ask(t, s, "GET", "/index.html"); r.status != 404 || !strings.HasPrefix(r.body, "There is nothing here: ") {
		t.Errorf("/index.html is answered %d %q", r.status, r.body)
	}
}

// Without node make builds all the rest, and says so in one line; and what has
// not changed is not made again.
func TestMakeBuildsThePage(t *testing.T) {
	t.Parallel()
	if _, err := pageBinary(); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join("..", "page", "dist", "files.json")
	before, err := os.Stat(list)
	if err != nil {
		t.Fatal(err)
	}
	flags, err := page("PATH=" + os.Getenv("PATH"))
	if err != nil || flags != "-tags page\n" {
		t.Errorf("with node the flags are %q, %v", flags, err)
	}
	if after, err := os.Stat(list); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it is made again without need, %v", err)
	}
	// A machine without node: what the script needs else is there.
	bin := t.TempDir()
	for _, name := range []string{"bash", "env", "dirname", "go"} {
		if err := os.Symlink(tunnelTool(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		mode, want string
		fails      bool
	}{
		{"auto", "page: node is missing: this build has all but the web terminal\n", false},
		{"yes", "page: node is missing, which makes the page of the web terminal; PAGE=no builds without it\n", true},
		{"no", "", false},
		{"maybe", "page: PAGE is 'maybe', but must be auto, yes or no\n", true},
	} {
		said, err := page("PATH="+bin, "PAGE="+c.mode)
		if said != c.want || (err != nil) != c.fails {
			t.Errorf("PAGE=%s without node says %q, %v", c.mode, said, err)
		}
	}
}

// page is .ci/page, and all that it says.
func page(env ...string) (said string, err error) {
	cmd := exec.Command("../.ci/page")
	cmd.Env = append(env, "HOME="+os.Getenv("HOME"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
