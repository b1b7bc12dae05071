package page

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// A text long enough that its length says which form it is.
var script = strings.Repeat("run();\n", 20_000)

// packed returns a text as gzip.
func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// madeUp is a built page as it lies in the binary: what is compressed is not
// there as it was, too.
func madeUp(t *testing.T) fstest.MapFS {
	t.Helper()
	return fstest.MapFS{
		"files.json": {Data: []byte(`{
			"index.html": {"hash": "Ab-1_", "type": "text/html; charset=utf-8", "immutable": false, "size": 6},
			"app.Q1.js": {"hash": "Cd2", "type": "text/javascript; charset=utf-8", "immutable": true, "size": 140000},
			"icon.Q2.png": {"hash": "Ef3", "type": "image/png", "immutable": true, "size": 4}
		}`)},
		"index.html.br":  {Data: []byte("brotli of index")},
		"index.html.gz":  {Data: packed(t, "<html>")},
		"app.Q1.js.br":   {Data: []byte("brotli of app")},
		"app.Q1.js.gz":   {Data: packed(t, script)},
		"icon.Q2.png":    {Data: []byte("\x89PNG")},
		"secret.Q3.js":   {Data: []byte("not listed")},
		"sub/index.html": {Data: []byte("not listed")},
	}
}

func newTest(t *testing.T, o Options) *Handler {
	t.Helper()
	h, err := newHandler(madeUp(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask is a request for a path with some headers; its body is read.
func ask(t *testing.T, h http.Handler, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, "http://wsproxy.test:8080"+path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestFiles(t *testing.T) {
	h := newTest(t, Options{})
	const forever, asked = "public, max-age=31536000, immutable", "no-cache"
	for _, c := range []struct {
		path, accept string
		mediaType    string
		coding, tag  string
		cache        string
		body         string
	}{
		{"/", "gzip, deflate, br, zstd", "text/html; charset=utf-8", "br", `"Ab-1_-br"`, asked, "brotli of index"},
		{"/index.html", "br", "text/html; charset=utf-8", "br", `"Ab-1_-br"`, asked, "brotli of index"},
		{"/", "", "text/html; charset=utf-8", "", `"Ab-1_"`, asked, "<html>"},
		{"/app.Q1.js", "br", "text/javascript; charset=utf-8", "br", `"Cd2-br"`, forever, "brotli of app"},
		{"/app.Q1.js", "gzip", "text/javascript; charset=utf-8", "gzip", `"Cd2-gzip"`, forever, string(packed(t, script))},
		{"/app.Q1.js", "zstd", "text/javascript; charset=utf-8", "", `"Cd2"`, forever, script},
		{"/icon.Q2.png", "br, gzip", "image/png", "", `"Ef3"`, forever, "\x89PNG"},
	} {
		if !h.Has(c.path) {
			t.Errorf("%s is not there", c.path)
		}
		headers := []string{"Accept-Encoding", c.accept}
		if c.accept == "" {
			headers = nil
		}
		for _, method := range []string{"GET", "HEAD"} {
			response, body := ask(t, h, method, c.path, headers...)
			got := response.Header
			if response.StatusCode != 200 || got.Get("Content-Type") != c.mediaType || got.Get("Content-Encoding") != c.coding || got.Get("ETag") != c.tag || got.Get("Cache-Control") != c.cache {
				t.Errorf("%s %s with %q: %d %v", method, c.path, c.accept, response.StatusCode, got)
			}
			if response.ContentLength != int64(len(c.body)) {
				t.Errorf("%s %s with %q says it has %d bytes, it has %d", method, c.path, c.accept, response.ContentLength, len(c.body))
			}
			if want := map[string]string{"GET": c.body}[method]; body != want {
				t.Errorf("%s %s with %q brings %d bytes, want %d", method, c.path, c.accept, len(body), len(want))
			}
			if vary := got.Get("Vary"); (vary == "Accept-Encoding") == strings.HasSuffix(c.path, ".png") {
				t.Errorf("%s varies with %q", c.path, vary)
			}
		}
	}
}

func TestWhatIsNotListedIsNotThere(t *testing.T) {
	h := newTest(t, Options{})
	for _, path := range []string{"", "/files.json", "/secret.Q3.js", "/sub/index.html", "/sub/", "/app.Q1.js.br", "/app.Q1.js.gz", "/app.js", "//", "/../handler.go", "/..%2fhandler.go", "/./index.html", "/index.html/", "/relay", "/INDEX.HTML"} {
		if h.Has(path) {
			t.Errorf("%q is there", path)
		}
		if path == "" {
			continue
		}
		if response, _ := ask(t, h, "GET", path); response.StatusCode != 404 {
			t.Errorf("%q is answered %d", path, response.StatusCode)
		}
	}
}

func TestWhichCodingIsChosen(t *testing.T) {
	h := newTest(t, Options{})
	for accept, want := range map[string]string{
		"br, gzip":                       "br",
		"gzip, br":                       "br",
		"gzip":                           "gzip",
		"GZIP ; Q=0.5":                   "gzip",
		"x-gzip":                         "gzip",
		"br;q=0.5, gzip;q=0.8":           "gzip",
		"br;q=0, gzip":                   "gzip",
		"br;q=0, gzip;q=0":               "",
		"*":                              "br",
		"*;q=0.5, gzip":                  "gzip",
		"*, br;q=0":                      "gzip",
		"identity":                       "",
		"identity, gzip;q=0.5":           "",
		"identity;q=0.5, gzip;q=1":       "gzip",
		"gzip;q=0.001":                   "gzip",
		"identity;q=0":                   "", // there is nothing else that it takes
		"identity;q=0, *;q=0":            "",
		"identity;q=0, br":               "br",
		"deflate, zstd":                  "",
		"":                               "",
		"br;q=2, gzip;q=x":               "",
		"br;q=NaN, gzip;q=-1":            "",
		"br;level=4;q=0.2, gzip;q=0.1":   "br",
		" , br ;q=1.000,, gzip;q=0.999 ": "br",
	} {
		response, _ := ask(t, h, "GET", "/app.Q1.js", "Accept-Encoding", accept)
		if got := response.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%q gets %q, want %q", accept, got, want)
		}
	}
	if response, _ := ask(t, h, "GET", "/app.Q1.js", "Accept-Encoding", "gzip;q=0.5", "Accept-Encoding", "br"); response.Header.Get("Content-Encoding") != "br" {
		t.Error("the second of two fields is not read")
	}
}

func TestNotModified(t *testing.T) {
	h := newTest(t, Options{})
	for _, c := range []struct {
		known  string
		status int
	}{
		{`"Cd2-br"`, 304}, {`W/"Cd2-br"`, 304}, {`"other", "Cd2-br"`, 304}, {"*", 304},
		{`"Cd2"`, 200}, {`"Cd2-gzip"`, 200}, {"Cd2-br", 200}, {`""`, 200}, {"", 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			response, body := ask(t, h, method, "/app.Q1.js", "Accept-Encoding", "br", "If-None-Match", c.known)
			if response.StatusCode != c.status {
				t.Errorf("%s of what has %s is answered %d", method, c.known, response.StatusCode)
			}
			got := response.Header
			if got.Get("ETag") != `"Cd2-br"` || got.Get("Vary") != "Accept-Encoding" || !strings.Contains(got.Get("Cache-Control"), "immutable") || got.Get("Content-Security-Policy") == "" {
				t.Errorf("the answer %d has the headers %v", c.status, got)
			}
			if c.status == 304 && (body != "" || got.Get("Content-Encoding") != "" || got.Get("Content-Type") != "") {
				t.Errorf("304 brings %q, %v", body, got)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	h := newTest(t, Options{})
	for method, want := range map[string]int{"POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 204} {
		for _, path := range []string{"/", "/web-terminal.json"} {
			response, _ := ask(t, h, method, path)
			if response.StatusCode != want || response.Header.Get("Allow") != "GET, HEAD, OPTIONS" || response.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s is answered %d %v", method, path, response.StatusCode, response.Header)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	for _, o := range []Options{
		{Version: "v1.2.3"},
		{Auth: true, Version: "dev", Ancestors: []string{"https://app.example.com"}, Tunnels: true, TunnelNames: true},
	} {
		h := newTest(t, o)
		response, body := ask(t, h, "GET", "/web-terminal.json", "Accept-Encoding", "br", "If-None-Match", "*")
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("it is answered %d %v", response.StatusCode, response.Header)
		}
		var got Options
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Auth != o.Auth || got.Version != o.Version || got.Tunnels != o.Tunnels || got.TunnelNames != o.TunnelNames || !slices.Equal(got.Ancestors, o.Ancestors) || strings.Contains(body, "null") {
			t.Errorf("it says %s, %v", body, err)
		}
		if head, none := ask(t, h, "HEAD", "/web-terminal.json"); head.ContentLength != int64(len(body)) || none != "" {
			t.Errorf("HEAD says %d, %q", head.ContentLength, none)
		}
	}
}

// Every answer has the policy, for a worker has that of its own script.
func TestPolicy(t *testing.T) {
	const strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; font-src 'self'; worker-src 'self'; manifest-src 'self'; connect-src 'self'"
	for _, path := range []string{"/", "/app.Q1.js", "/icon.Q2.png", "/web-terminal.json"} {
		response, _ := ask(t, newTest(t, Options{}), "GET", path)
		for name, want := range map[string]string{
			"Content-Security-Policy":      strict + " ws://wsproxy.test:8080 wss://wsproxy.test:8080; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s has %s: %s\nwant %s", path, name, got, want)
			}
		}
	}
	h := newTest(t, Options{Ancestors: []string{"https://a.example", "http://localhost:5173"}})
	for host, connect := range map[string]string{
		"a.test":                  " ws://a.test wss://a.test",
		"A-1.test:80":             " ws://A-1.test:80 wss://A-1.test:80",
		"a.test; script-src *":    "",
		"a.test,default-src":      "",
		"[::1]:8080":              "", // a policy can't name it
		"*":                       "",
		"a.test 'unsafe-inline' ": "",
		"":                        "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := strict + connect + "; base-uri 'none'; form-action 'none'; frame-ancestors https://a.example http://localhost:5173"
		if got := w.Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("for the host %q it is\n%s, want\n%s", host, got, want)
		}
		if opener := w.Header().Get("Cross-Origin-Opener-Policy"); opener != "" {
			t.Errorf("an application that opens it can't give it a token: %s", opener)
		}
	}
}

// A page that is not whole is no page: better no server than half a one.
func TestPageThatIsNotWhole(t *testing.T) {
	for what, spoil := range map[string]func(fstest.MapFS){
		"no list":   func(f fstest.MapFS) { delete(f, "files.json") },
		"no JSON":   func(f fstest.MapFS) { f["files.json"] = &fstest.MapFile{Data: []byte("{")} },
		"no index":  func(f fstest.MapFS) { f["files.json"] = &fstest.MapFile{Data: []byte("{}")} },
		"no script": func(f fstest.MapFS) { delete(f, "app.Q1.js.gz") },
		"no icon":   func(f fstest.MapFS) { delete(f, "icon.Q2.png") },
		"no type": func(f fstest.MapFS) {
			f["files.json"] = &fstest.MapFile{Data: []byte(`{"index.html": {"hash": "a", "size": 6}}`)}
		},
		"a hash that ends the tag": func(f fstest.MapFS) {
			f["files.json"] = &fstest.MapFile{Data: []byte(`{"index.html": {"hash": "a\"b", "type": "text/html", "size": 6}}`)}
		},
	} {
		f := madeUp(t)
		spoil(f)
		if _, err := newHandler(f, Options{}); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}

// A binary without the page says so, at / alone.
func TestWithoutThePage(t *testing.T) {
	h := withoutPage(Options{})
	response, body := ask(t, h, "GET", "/")
	if !h.Has("/") || response.StatusCode != 404 || !strings.Contains(body, "make build") || response.Header.Get("Content-Type") != "text/plain; charset=utf-8" || response.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(response.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("it says %d %v %q", response.StatusCode, response.Header, body)
	}
	for _, path := range []string{"/index.html", "/web-terminal.json", "/x"} {
		if h.Has(path) {
			t.Errorf("it has %s", path)
		}
	}
}

// pausing is a ResponseWriter that knows its deadlines.
type pausing struct {
	http.ResponseWriter
	deadlines []time.Time
	fails     int // at so many pieces, if it is not 0
}

func (p *pausing) SetWriteDeadline(t time.Time) error {
	p.deadlines = append(p.deadlines, t)
	return nil
}

func (p *pausing) Write(b []byte) (int, error) {
	if len(p.deadlines) == p.fails {
		return 0, errors.New("too late")
	}
	return p.ResponseWriter.Write(b)
}

// A client on a slow network has time for each piece, and none for the whole; and
// one that takes nothing ends the work.
func TestEachPieceHasItsTime(t *testing.T) {
	h := newTest(t, Options{})
	for _, fails := range []int{0, 2} {
		w := &pausing{ResponseWriter: httptest.NewRecorder(), fails: fails}
		begun := time.Now()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/app.Q1.js", nil))
		took := time.Since(begun)
		want := (len(script) + pieceSize - 1) / pieceSize
		if fails > 0 {
			want = fails
		}
		if len(w.deadlines) != want {
			t.Errorf("%d pieces, want %d", len(w.deadlines), want)
		}
		for i, deadline := range w.deadlines {
			least := slack + time.Duration(min((i+1)*pieceSize, len(script)))*time.Second/slowest
			if within := deadline.Sub(begun); within < least || within > least+took {
				t.Errorf("piece %d has to be gone within %v, want %v", i, within, least)
			}
		}
	}
}

// A file that can't be read any more is no empty one.
func TestUnreadableFile(t *testing.T) {
	f := madeUp(t)
	h, err := newHandler(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	delete(f, "app.Q1.js.br")
	if _, err := fs.Stat(f, "app.Q1.js.br"); err == nil {
		t.Fatal("it is still there")
	}
	response, _ := ask(t, h, "GET", "/app.Q1.js", "Accept-Encoding", "br")
	if response.StatusCode != 500 || response.Header.Get("Content-Encoding") != "" || response.Header.Get("ETag") != "" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("it is answered %d %v", response.StatusCode, response.Header)
	}
}
