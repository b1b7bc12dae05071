package page

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// mostToLoad is how many bytes all of the page may have on the wire, so that a first visit is no long wait.
const mostToLoad = 2_500_000

// What this very build has is small, also for browsers that take no br, if it has a page.
func TestBuiltInIsSmall(t *testing.T) {
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, accepts := range []string{"br", "gzip"} {
		var all int64
		for path, f := range h.files {
			if path != "/index.html" { // which "/" is, too
				all += f.choose(http.Header{"Accept-Encoding": {accepts}}).size
			}
		}
		t.Logf("by %s the page has %d bytes", accepts, all)
		if all > mostToLoad {
			t.Errorf("by %s the page has %d bytes, more than %d", accepts, all, mostToLoad)
		}
	}
}

// What this very build has is whole, if it has a page.
func TestBuiltIn(t *testing.T) {
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Has("/") || h.Has("/web-terminal.json") != Exists() {
		t.Errorf("there is a page: %v, and settings: %v", Exists(), h.Has("/web-terminal.json"))
	}
	for path, f := range h.files {
		for _, as := range f.forms {
			if as.coding != "" {
				continue
			}
			content, err := as.open(h.dist)
			if err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(content)
			if err != nil || int64(len(all)) != as.size {
				t.Errorf("%s has %d bytes, %v; the list says %d", path, len(all), err, as.size)
			}
			if bytes.Contains(all, []byte("vcs.revision=")) {
				t.Errorf("%s names the commit: each one gives it another name, though nothing else is new", path)
			}
			content.Close()
		}
	}
}
