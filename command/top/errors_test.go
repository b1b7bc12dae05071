package top

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	f := newFake(t)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(f.URL, http.StatusFound))
	defer elsewhere.Close()
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer garbage.Close()
	hostile := newFake(t)
	hostile.breaks(true)
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"sessions":[{}`+strings.Repeat(",{}", maxFields+1)+`]}`)
	}))
	defer endless.Close()
	with := []string{"WSPROXY_ADMIN_TOKEN=" + token}
	for _, test := range []struct {
		environ []string
		args    []string
		status  int
		says    string
	}{
		{with, nil, 2, "it takes one URL"},
		{with, []string{"127.0.0.1:9090"}, 2, "must be like http://127.0.0.1:9090"},
		{with, []string{"http://" + token + "@127.0.0.1:9090"}, 2, "has a user"},
		{with, []string{"--interval", "1ms", f.URL}, 2, "from 200ms to 1h"},
		{with, []string{"--sort", "size", f.URL}, 2, "rate, bytes, age, user, target"},
		{nil, []string{f.URL}, 2, "token is missing"},
		{nil, []string{"--token-file", "/dev/null", f.URL}, 2, "is empty"},
		{[]string{"WSPROXY_ADMIN_TOKEN=a\x01" + token}, []string{f.URL}, 2, "no token that HTTP carries"},
		{[]string{"WSPROXY_ADMIN_TOKEN=" + token + "x"}, []string{f.URL}, 1, "refuses the token"},
		{with, []string{other.URL}, 1, "METRICS_ADDR"},
		{with, []string{elsewhere.URL}, 1, "Found"},
		{with, []string{garbage.URL}, 1, "can't be read"},
		{with, []string{hostile.URL}, 1, `Others ask\x1b[2J just now.`},
		{with, []string{endless.URL}, 1, "more than a wsproxy tells"},
		{with, []string{"http://127.0.0.1:1"}, 1, "can't be asked"},
	} {
		status, out, errs := run(t, test.environ, test.args...)
		if status != test.status || out != "" || !strings.Contains(errs, test.says) || strings.Contains(errs, token) {
			t.Errorf("%q: %d %q %q, want %d %q", test.args, status, out, errs, test.status, test.says)
		}
	}
	if f.asked != 0 {
		t.Errorf("it was asked %d times", f.asked)
	}
}
