package page

import (
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
