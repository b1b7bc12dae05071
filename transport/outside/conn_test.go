package outside

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A connection that is not one of ours has them all the same.
func TestNotModifiedElsewhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		KeepInNotModified(r, w.Header())
		w.WriteHeader(304)
	}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.Header.Get("Content-Length") != "7" {
		t.Errorf("the header is %v", answer.Header)
	}
}
