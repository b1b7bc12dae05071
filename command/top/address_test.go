package top

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wsproxy/command/cli"
)

// A METRICS_ADDR on a Unix socket is asked there, and the token goes over no network.
func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "wsproxy-top-") // a test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "metrics")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	f.all = append(f.all, relay("7", "ann", "db:22", 1000, 0))
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Listener.Close()
	f.Listener = listener
	f.Start()
	t.Cleanup(f.Close)
	with := []string{tokenVariable + "=" + token}
	status, out, errs := run(t, with, "--json", "--interval", "200ms", "unix:"+socket)
	var got document
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != cli.StatusOK || errs != "" || len(got.Sessions) != 1 || got.Sessions[0].Target != "db:22" || got.Sessions[0].Up != 1000 {
		t.Errorf("it ends with %d, %q: %s", status, errs, out)
	}
	status, _, errs = run(t, with, "--once", "unix:"+socket+"x")
	if status != cli.StatusFailed || !strings.Contains(errs, "the server at unix:"+socket+"x can't be asked") || !strings.Contains(errs, "no such file") {
		t.Errorf("where there is none it ends with %d: %s", status, errs)
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		raw, shown string
		clear      bool
		wrong      string
	}{
		{raw: "http://127.0.0.1:9090", shown: "127.0.0.1:9090"},
		{raw: "http://localhost:9090/", shown: "localhost:9090"},
		{raw: "http://[::1]:9090/x/", shown: "[::1]:9090"},
		{raw: "http://10.0.0.1:9090", shown: "10.0.0.1:9090", clear: true},
		{raw: "https://10.0.0.1:9090", shown: "10.0.0.1:9090"},
		{raw: "unix:/run/wsproxy/metrics", shown: "unix:/run/wsproxy/metrics"},
		{raw: "unix:/run/a?b#c", shown: "unix:/run/a?b#c"},
		{raw: "unix:metrics", shown: "unix:metrics"},
		{raw: "unix:", wrong: "needs the path"},
		{raw: "http://unix:/run/wsproxy/metrics", wrong: "without http://"},
		{raw: "127.0.0.1:9090", wrong: "like http://127.0.0.1:9090, or unix:/run/"},
		{raw: "ftp://127.0.0.1", wrong: "like http://"},
		{raw: "http://", wrong: "like http://"},
		{raw: "http://s3cret@127.0.0.1:9090", wrong: "a user"},
		{raw: "http://127.0.0.1:9090/?s3cret", wrong: "a query"},
	} {
		got, err := addressOf(test.raw)
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v, want %q", test.raw, err, test.wrong)
			}
			continue
		}
		if err != nil || got.String() != test.shown || got.inTheClear() != test.clear {
			t.Errorf("%s is %+v, %v", test.raw, got, err)
		}
	}
}
