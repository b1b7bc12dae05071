package outside

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

type answered struct {
	endpoint     string
	status       int
	first, whole time.Duration
}

func (a *answered) Answered(endpoint string, status int, first, whole time.Duration) {
	*a = answered{endpoint, status, first, whole}
}

// take takes the connection, and closes it.
func take(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

func TestAnswersAreObserved(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		status int
	}{
		"a status":         {func(w http.ResponseWriter) { w.WriteHeader(404); _, _ = w.Write([]byte("x")) }, 404},
		"none said":        {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, 200},
		"an interim one":   {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(304) }, 304},
		"only interim":     {func(w http.ResponseWriter) { w.WriteHeader(103) }, 0},
		"cut":              {func(http.ResponseWriter) {}, 0},
		"taken":            {func(w http.ResponseWriter) { take(w) }, 101},
		"taken to refuse":  {func(w http.ResponseWriter) { take(w); w.(*Observed).Became(400) }, 400},
		"said, then taken": {func(w http.ResponseWriter) { w.WriteHeader(101); take(w) }, 101},
	} {
		t.Run(name, func(t *testing.T) {
			var got answered
			done := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				defer close(done)
				observed := Observe(w)
				defer observed.Tell(&got, "http")
				c.answer(observed)
			}))
			defer server.Close()
			answer, err := http.Get(server.URL) // of those that are taken nothing comes
			if err == nil {
				answer.Body.Close()
			}
			<-done
			if got.endpoint != "http" || got.status != c.status || got.first > got.whole || got.first == 0 && c.status != 0 && c.status != 400 {
				t.Errorf("the observer was told %+v", got)
			}
		})
	}
}
