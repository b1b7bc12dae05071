package transport

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// onePage has some paths, of which the edge has one itself.
type onePage struct{ http.Handler }

func (onePage) Has(path string) bool { return path == "/" || path == "/app.js" || path == "/health" }

// Pages answer for what they have on the server's own host, behind whatever the
// edge answers itself; tunnels' hosts are none of theirs.
func TestPages(t *testing.T) {
	pages := onePage{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the page's "+r.Method+" "+r.URL.Path)
	})}
	d := newDesk(t, func(c *Config) { c.Pages = pages })
	for target, want := range map[string]string{
		"/":          "the page's GET /",
		"/?x=1":      "the page's GET /",
		"/app.js":    "the page's GET /app.js",
		"/health":    "ok",
		"/none":      "There is nothing here",
		"/app.js/":   "There is nothing here",
		"/../app.js": "There is nothing here",
	} {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Origin", "https://app.example.com")
		response := d.serve(r)
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.HasPrefix(string(body), want) {
			t.Errorf("%s brings %d %q, %v", target, response.StatusCode, body, err)
		}
		if strings.HasPrefix(want, "the page's") && (response.Header.Get("Access-Control-Allow-Origin") != "" || response.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s has the headers %v", target, response.Header)
		}
	}
	// A body is of no use here either, and none is waited for.
	r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
	if got := d.serve(r).Header.Get("Connection"); got != "close" {
		t.Errorf("behind a body the connection is said to %q", got)
	}
	d = newDesk(t, nil)
	if response := d.serve(httptest.NewRequest("GET", "/", nil)); response.StatusCode != http.StatusNotFound {
		t.Errorf("without pages / is answered %d", response.StatusCode)
	}
}
