package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tunnelProxy is a client that answers from a real HTTP server.
func tunnelProxy(t *testing.T, origin string) func(*tunnelClient, tunnelMessage) {
	client := tunnelHTTP(t)
	return func(c *tunnelClient, m tunnelMessage) {
		request, err := http.NewRequest(m.Method, origin+m.Path, bytes.NewReader(m.bytes()))
		if err != nil {
			c.answer(m, 500, err.Error())
			return
		}
		for name, value := range m.Headers {
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			c.answer(m, 500, err.Error())
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		_ = c.send(tunnelJSON{
			"type": "http_response", "id": m.ID, "status": response.StatusCode, "headers": response.Header,
			"body": base64.StdEncoding.EncodeToString(body), "bodyEncoding": "base64",
		})
	}
}

// tunnelTool is the path of a program, which must be there.
func tunnelTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: %v", name, err)
	}
	return path
}

// tunnelCurl runs curl, which finds every host at the server, and returns what
// it prints.
func tunnelCurl(t *testing.T, curl string, s *server, args ...string) string {
	t.Helper()
	args = append([]string{"-sS", "--noproxy", "*", "--max-time", "30", "--connect-to", "::" + s.addr}, args...)
	var stderr bytes.Buffer
	cmd := exec.Command(curl, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("curl %q: %v, %s", args, err, &stderr)
	}
	return string(out)
}

// curl speaks to a real HTTP server through a tunnel.
func TestTunnelCurl(t *testing.T) {
	t.Parallel()
	curl := tunnelTool(t, "curl")
	file := make([]byte, 4<<20)
	_, _ = tunnelNoise(5).Read(file)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "file.bin", time.Unix(1e9, 0), bytes.NewReader(file))
	})
	mux.HandleFunc("/streamed", func(w http.ResponseWriter, r *http.Request) { // chunked, on its way to the client
		for piece := file; len(piece) > 0; piece = piece[1<<18:] {
			_, _ = w.Write(piece[:1<<18])
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "session=s3cret; Domain=tunnel.test; Path=/; HttpOnly")
		w.Header().Add("Set-Cookie", "theme=dark; Path=/")
		http.Redirect(w, r, "/whoami?from=login", http.StatusFound)
	})
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s|%s|%s:%s|%s", r.Header.Get("Cookie"), r.URL.RawQuery, user, password, r.Header.Get("X-Forwarded-Host"))
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %x", r.Method, len(body), sha256.Sum256(body))
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)

	s := tunnelServer(t, "TUNNEL_FORWARD_CREDENTIALS=true")
	c := tunnelOpen(t, s, tunnelScript{http: tunnelProxy(t, origin.URL)})
	dir := t.TempDir()
	upload := filepath.Join(dir, "upload")
	if err := os.WriteFile(upload, file, 0o600); err != nil {
		t.Fatal(err)
	}
	base := "http://" + c.host
	run := func(args ...string) string {
		t.Helper()
		return tunnelCurl(t, curl, s, args...)
	}
	if got := run(base + "/file"); got != string(file) {
		t.Errorf("of the file %d bytes arrive", len(got))
	}
	if got := run("--compressed", base+"/streamed"); got != string(file) {
		t.Errorf("of the stream %d bytes arrive", len(got))
	}
	if got := run("-r", "1000-1999", base+"/file"); got != string(file[1000:2000]) {
		t.Errorf("of the range %d bytes arrive", len(got))
	}
	partial := filepath.Join(dir, "partial")
	if err := os.WriteFile(partial, file[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	run("-C", "-", "-o", partial, base+"/file")
	if got, _ := os.ReadFile(partial); !bytes.Equal(got, file) {
		t.Errorf("the resumed download has %d bytes", len(got))
	}
	head := run("-I", base+"/file")
	if !strings.Contains(head, "200 OK") || !strings.Contains(head, fmt.Sprintf("Content-Length: %d", len(file))) {
		t.Errorf("the head is %q", head)
	}
	if got := run("-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-z", "Tue, 01 Jan 2030 00:00:00 GMT", base+"/file"); got != "304 0" {
		t.Errorf("a file that is not newer: %s", got)
	}
	jar := filepath.Join(dir, "jar")
	if got, want := run("-L", "-c", jar, "-b", jar, "-u", "me:pw", base+"/login"), "session=s3cret; theme=dark|from=login|me:pw|"+c.host; got != want {
		t.Errorf("the login ends at %q, not %q", got, want)
	}
	if cookies, _ := os.ReadFile(jar); strings.Contains(string(cookies), "\t.tunnel.test") || !strings.Contains(string(cookies), c.host) {
		t.Errorf("the cookies are %q", cookies)
	}
	for _, args := range [][]string{
		{"--data-binary", "@" + upload}, {"-T", upload}, {"-T", upload, "-H", "Transfer-Encoding: chunked"}, {"-T", upload, "-H", "Expect: 100-continue"},
	} {
		method := "PUT"
		if args[0] == "--data-binary" {
			method = "POST"
		}
		want := fmt.Sprintf("%s %d %x", method, len(file), sha256.Sum256(file))
		if got := run(append(args, base+"/upload")...); got != want {
			t.Errorf("%q: %q, not %q", args, got, want)
		}
	}
	if got := run("-o", "/dev/null", "-w", "%{http_code}:%{num_connects} ", base+"/whoami", "-o", "/dev/null", base+"/none", "-o", "/dev/null", base+"/whoami"); got != "200:1 404:0 200:0 " {
		t.Errorf("three requests: %q", got)
	}
}

// Files just below the limit and of exactly its size, 10 MiB unless it is set,
// pass whole in either direction. One byte more is refused, and nothing of it
// comes out at the other end.
func TestTunnelCurlAtTheLimit(t *testing.T) {
	t.Parallel()
	curl := tunnelTool(t, "curl")
	const limit = 10 << 20
	file := make([]byte, limit+1)
	_, _ = tunnelNoise(6).Read(file)
	for i := range file {
		file[i] = 'a' + file[i]%26 // text, which takes this client less time
	}
	var uploads atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{size}", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.PathValue("size"))
		_, _ = w.Write(file[:size])
	})
	mux.HandleFunc("PUT /{size}", func(w http.ResponseWriter, r *http.Request) {
		uploads.Add(1)
		sum, n, _ := tunnelSum(r.Body)
		fmt.Fprintf(w, "%d %x", n, sum)
	})
	origin := httptest.NewServer(mux)
	t.Cleanup(origin.Close)
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{http: tunnelProxy(t, origin.URL)})
	dir := t.TempDir()

	for _, size := range []int{limit - 1, limit, limit + 1} {
		whole := size <= limit
		url := fmt.Sprintf("http://%s/%d", c.host, size)
		path := filepath.Join(dir, strconv.Itoa(size))
		want := "502"
		if whole {
			want = fmt.Sprint("200 ", size)
		}
		if got := tunnelCurl(t, curl, s, "-o", path, "-w", "%{http_code} %{size_download}", url); !strings.HasPrefix(got, want) {
			t.Errorf("a download of %d bytes: %s, not %s", size, got, want)
		}
		got, _ := os.ReadFile(path)
		if whole != bytes.Equal(got, file[:size]) || !whole && len(got) > 300 {
			t.Errorf("a download of %d bytes: %d arrive", size, len(got))
		}

		if err := os.WriteFile(path, file[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		// With its length, which is enough to refuse it, and without.
		for _, how := range [][]string{nil, {"-H", "Transfer-Encoding: chunked"}} {
			if whole && size < limit && how != nil {
				continue
			}
			before := uploads.Load()
			got := tunnelCurl(t, curl, s, append(how, "-T", path, "-w", " %{http_code}", url)...)
			if want := fmt.Sprintf("%d %x 200", size, sha256.Sum256(file[:size])); whole && got != want {
				t.Errorf("an upload of %d bytes, %q: %q, not %q", size, how, got, want)
			}
			if !whole && (!strings.HasSuffix(got, " 413") || uploads.Load() != before) {
				t.Errorf("an upload of %d bytes, %q: %q, and the tunnel got %d requests", size, how, got, uploads.Load()-before)
			}
		}
	}
}
