package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"wsproxy/command/cli"
)

// roomy is a machine on which nothing is to be said.
var roomy = fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal:       16384000 kB\nMemFree: 1 kB\n")}}

// private is an environment without warnings and notes.
var private = []string{"CLERK_JWKS_URL=https://k.example/jwks", "JWT_AUDIENCE=wsproxy"}

func judged(t *testing.T, files fstest.MapFS, environ ...string) report {
	t.Helper()
	found, err := (&checker{machine: machine{files}}).judge(environ)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// texts returns what is said of a variable.
func texts(all []finding, variable string) string {
	var said []string
	for _, f := range all {
		if f.Variable == variable {
			said = append(said, f.Text)
		}
	}
	return strings.Join(said, "; ")
}

func TestNothingToSay(t *testing.T) {
	for _, environ := range [][]string{
		private,
		slices.Concat(private, []string{"TUNNEL_DOMAIN=t.example", "TUNNEL_NAME_SECRET=0123456789abcdef0123456789abcdef", "TRUSTED_PROXIES=10.0.0.0/8", "METRICS_ADDR=127.0.0.1:9090", "ADMIN_TOKEN=0123456789abcdef", "MAX_SESSION_AGE=12h", "ALLOWED_TARGETS=10.1.0.0/16"}),
		slices.Concat(private, []string{"BIND=unix:/run/w", "TRUSTED_PROXIES=unix", "METRICS_ADDR=unix:/run/m"}),
		// What make run sets, with a key of keygen's.
		{"BIND=127.0.0.1", "CLERK_JWKS_URL=https://k.example/jwks", "JWT_ISSUER=x", "TRUSTED_PROXIES=127.0.0.1", "ALLOWED_TARGETS=127.0.0.0/8,::1/128", "ALLOWED_ORIGINS=http://localhost:*", "TUNNEL_DOMAIN=tunnel.localhost", "TUNNEL_PUBLIC_URL=http://*.tunnel.localhost:8080", "TUNNEL_BIND=127.0.0.1", "LOG_FORMAT=text", "WEB_TERMINAL=on", "WEB_TERMINAL_ANCESTORS=https://app.example"},
	} {
		found := judged(t, roomy, environ...)
		if found.Status != 0 || len(found.Warnings)+len(found.Notes) > 0 {
			t.Errorf("%q: %+v, %+v", environ, found.Warnings, found.Notes)
		}
	}
}

// Each of these is said, about that variable, beside nothing that a good environment
// has.
func TestFindings(t *testing.T) {
	const tunnels = "TUNNEL_DOMAIN=t.example"
	group := fstest.MapFS{"proc/meminfo": roomy["proc/meminfo"], "sys/fs/cgroup/memory.max": {Data: []byte("536870912\n")}}
	none := []string{}
	for _, c := range []struct {
		base     []string
		environ  []string
		files    fstest.MapFS
		variable string
		warning  string // in it; "" = it is a note
		note     string
	}{
		{base: none, variable: "CLERK_JWKS_URL", warning: "anyone who reaches this server"},
		{base: none, environ: []string{"BIND=0.0.0.0"}, variable: "CLERK_JWKS_URL", warning: "anyone who reaches this server"},
		{base: none, environ: []string{"BIND=::1", "ALLOWED_ORIGINS=https://a.example"}, variable: "CLERK_JWKS_URL", note: "everyone on this machine"},
		{base: none, environ: []string{"BIND=localhost"}, variable: "ALLOWED_ORIGINS", warning: "any web page"},
		{base: none, environ: []string{"BIND=unix:/run/w", "TRUSTED_PROXIES=unix"}, variable: "ALLOWED_ORIGINS", warning: "browser within reach of the front proxy has open"},
		{base: none, environ: []string{"BIND=unix:/run/w", "TRUSTED_PROXIES=unix", "ALLOWED_ORIGINS=https://a.example"}, variable: "CLERK_JWKS_URL", note: "whoever may connect to the Unix socket"},
		{environ: []string{"JWT_AUDIENCE="}, base: private[:1], variable: "JWT_AUTHORIZED_PARTIES", note: "every token"},
		{environ: []string{tunnels, "ALLOWED_ORIGINS=https://*.t.example"}, variable: "ALLOWED_ORIGINS", warning: "served through tunnels"},
		{environ: []string{"BIND=unix:/run/w"}, variable: "TRUSTED_PROXIES", warning: "add unix"},
		{environ: []string{"BIND=unix:/run/w", "TRUSTED_PROXIES=unix", "UNIX_SOCKET_MODE=0666"}, variable: "UNIX_SOCKET_MODE", note: "claim any address"},
		{environ: []string{"TLS_CERT_FILE=/nonexistent/c", "TLS_KEY_FILE=/nonexistent/k"}, variable: "TLS_KEY_FILE", warning: "can't be read"},
		{environ: []string{"TLS_CERT_FILE=/etc/hosts", "TLS_KEY_FILE=/etc/hosts"}, variable: "TLS_KEY_FILE", warning: "can read the key"},
		{environ: []string{"ACME_DOMAINS=a.example", "ACME_CACHE_DIR=/a"}, variable: "ACME_DOMAINS", note: "port 443"},
		{environ: []string{tunnels, "PORT=443", "ACME_DOMAINS=*.t.example", "ACME_CACHE_DIR=/a"}, variable: "ACME_DOMAINS", note: "wildcard certificate"},
		{environ: []string{"BLOCKED_TARGETS=none"}, variable: "BLOCKED_TARGETS", warning: "blocks nothing"},
		{environ: []string{"ALLOWED_TARGETS=0.0.0.0/0"}, variable: "ALLOWED_TARGETS", warning: "exempts everything"},
		{environ: []string{"ALLOWED_TARGETS=10.0.0.0/8,169.254.0.0/16"}, variable: "ALLOWED_TARGETS", warning: "credentials"},
		{environ: []string{"ALLOWED_TARGETS=127.0.0.1"}, variable: "ALLOWED_TARGETS", warning: "on this machine"},
		{environ: []string{"ALLOWED_TARGETS=::1"}, variable: "ALLOWED_TARGETS", warning: "on this machine"},
		{environ: []string{"TRUSTED_PROXIES=0.0.0.0/0"}, variable: "TRUSTED_PROXIES", warning: "claim any address"},
		{environ: []string{"TRUSTED_PROXIES=10.0.0.0/8,2000::/3"}, variable: "TRUSTED_PROXIES", warning: "2000::/3"},
		{environ: []string{"BIND=127.0.0.1"}, variable: "TRUSTED_PROXIES", note: "share MAX_CONNS_PER_IP"},
		{environ: []string{tunnels, "TUNNEL_FORWARD_CREDENTIALS=true"}, variable: "TUNNEL_FORWARD_CREDENTIALS", note: "cookies"},
		{base: none, environ: []string{tunnels, "TUNNEL_FORWARD_CREDENTIALS=true"}, variable: "TUNNEL_FORWARD_CREDENTIALS", warning: "anyone"},
		{base: none, environ: []string{tunnels, "TUNNEL_NAME_SECRET=0123456789abcdef0123456789abcdef"}, variable: "TUNNEL_NAME_SECRET", warning: "without CLERK_JWKS_URL"},
		{environ: []string{"TUNNEL_NAME_SECRET=0123456789abcdef0123456789abcdef"}, variable: "TUNNEL_NAME_SECRET", warning: "without TUNNEL_DOMAIN"},
		{environ: []string{tunnels, "TUNNEL_NAME_SECRET=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, variable: "TUNNEL_NAME_SECRET", warning: "can be guessed"},
		{environ: []string{"METRICS_ADDR=:9090"}, variable: "METRICS_ADDR", warning: "all interfaces"},
		{environ: []string{"METRICS_ADDR=[::]:9090"}, variable: "METRICS_ADDR", warning: "all interfaces"},
		{environ: []string{"METRICS_ADDR=203.0.113.9:9090"}, variable: "METRICS_ADDR", warning: "public address"},
		{environ: []string{"METRICS_ADDR=127.0.0.1:8080"}, variable: "METRICS_ADDR", warning: "that of PORT"},
		{environ: []string{"ADMIN_TOKEN=q8!kLm2#Zx7pWv0e"}, variable: "ADMIN_TOKEN", note: "without METRICS_ADDR"},
		{environ: []string{"METRICS_ADDR=127.0.0.1:9090", "ADMIN_TOKEN=aaaaaaaaaaaaaaaa"}, variable: "ADMIN_TOKEN", warning: "can be guessed"},
		{environ: []string{"PORT=0"}, variable: "PORT", note: "any free port"},
		{environ: []string{tunnels, "PORT=10050"}, variable: "PORT", warning: "raw ports"},
		{environ: []string{tunnels, "METRICS_ADDR=127.0.0.1:10000"}, variable: "METRICS_ADDR", warning: "raw ports"},
		{environ: []string{tunnels, "TUNNEL_PORT_MIN=32000", "TUNNEL_PORT_MAX=33000"}, variable: "TUNNEL_PORT_MAX", note: "32768 to 60999",
			files: fstest.MapFS{"proc/sys/net/ipv4/ip_local_port_range": {Data: []byte("32768\t60999\n")}}},
		{environ: []string{"MAX_CONNS_PER_IP=0"}, variable: "MAX_CONNS_PER_IP", warning: "no limit"},
		{environ: []string{"MAX_CONNS_PER_USER=0"}, variable: "MAX_CONNS_PER_USER", warning: "no limit"},
		{environ: []string{"MAX_HTTP_CONNS=0"}, variable: "MAX_HTTP_CONNS", warning: "no limit"},
		{environ: []string{tunnels, "MAX_TUNNEL_TCP_CONNS_GLOBAL=0"}, variable: "MAX_TUNNEL_TCP_CONNS_GLOBAL", warning: "no limit"},
		{environ: []string{"MAX_TUNNEL_TCP_CONNS_GLOBAL=0"}, variable: "MAX_TUNNEL_TCP_CONNS_GLOBAL", note: "without TUNNEL_DOMAIN"},
		{files: group, variable: "TUNNEL_BUFFER_TOTAL", warning: "640MiB, and more with each session, but the control group (container) has 512MiB"},
		{files: group, environ: []string{"TUNNEL_BUFFER_TOTAL=128MiB", "RESUME_BUFFER_TOTAL=64MiB"}, variable: "GOMEMLIMIT", note: "512MiB"},
		{files: group, environ: []string{"TUNNEL_BUFFER_TOTAL=128MiB", "RESUME_BUFFER_TOTAL=64MiB", "GOMEMLIMIT=513MiB"}, variable: "GOMEMLIMIT", warning: "above the 512MiB"},
		{environ: []string{"GOMEMLIMIT=700M"}, variable: "GOMEMLIMIT", warning: "like 700MiB"},
		{environ: []string{"GOMEMLIMIT=100MiB"}, variable: "GOMEMLIMIT", note: "below the 640MiB"},
		{files: fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 500000 kB")}}, variable: "TUNNEL_BUFFER_TOTAL", warning: "this machine has 488.2MiB"},
		{environ: []string{"RESUME_BUFFER=2MiB", "RESUME_BUFFER_TOTAL=1MiB"}, variable: "RESUME_BUFFER", warning: "no session ever"},
		{environ: []string{tunnels, "TUNNEL_BUFFER_TOTAL=36MiB", "TUNNEL_BUFFER=10MiB"}, variable: "TUNNEL_MAX_BODY", warning: "a quarter"},
		{environ: []string{tunnels, "TUNNEL_BUFFER_TOTAL=64MiB", "TUNNEL_BUFFER=32MiB"}, variable: "TUNNEL_BUFFER", note: "a quarter"},
		{environ: []string{"SHUTDOWN_DELAY=2s"}, variable: "SHUTDOWN_DELAY", warning: "beyond the 10s"},
		{environ: []string{"SHUTDOWN_TIMEOUT=6s"}, variable: "SHUTDOWN_TIMEOUT", warning: "beyond the 10s"},
		{environ: []string{"PING_INTERVAL=60s"}, variable: "PING_INTERVAL", note: "front proxies"},
		{environ: []string{"LOG_LEVEL=debug"}, variable: "LOG_LEVEL", note: "many lines"},
		{environ: []string{"LOG_LEVEL=error"}, variable: "LOG_LEVEL", note: "who was refused"},
		{environ: []string{"TUNNEL_PORT_MIN=9999"}, variable: "TUNNEL_PORT_MIN", note: "without TUNNEL_DOMAIN"},
		{environ: []string{"WEB_TERMINAL_ANCESTORS=https://app.example"}, variable: "WEB_TERMINAL_ANCESTORS", note: "without WEB_TERMINAL=on"},
		{base: none, environ: []string{"MAX_CONNS_PER_USER=3"}, variable: "MAX_CONNS_PER_USER", note: "no users"},
		{environ: []string{"RESUME_TIMEOUT=0s", "RESUME_BUFFER=2MiB"}, variable: "RESUME_BUFFER", note: "RESUME_TIMEOUT=0"},
		{environ: []string{"MAX_CONN_PER_IP=s3cret"}, variable: "MAX_CONN_PER_IP", warning: "looks like MAX_CONNS_PER_IP"},
	} {
		base, files := c.base, c.files
		if base == nil {
			base = private
		}
		if files == nil {
			files = roomy
		}
		found := judged(t, files, slices.Concat(base, c.environ)...)
		said, want, status := found.Notes, c.note, 0
		if c.warning != "" {
			said, want, status = found.Warnings, c.warning, 1
		}
		if got := texts(said, c.variable); !strings.Contains(got, want) {
			t.Errorf("%q: of %s it says %q, want %q (%+v)", c.environ, c.variable, got, want, found.Warnings)
		}
		if len(base) > 0 && len(found.Warnings) > status {
			t.Errorf("%q: too many warnings: %+v", c.environ, found.Warnings)
		}
		if (found.Status != 0) != (len(found.Warnings) > 0) {
			t.Errorf("%q: status %d with %d warnings", c.environ, found.Status, len(found.Warnings))
		}
		if text, _ := json.Marshal(found); strings.Contains(string(text), "s3cret") {
			t.Errorf("%q: it shows what may be a secret", c.environ)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has no modes, and other paths
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "jwks.json")
	const good = `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","n":"` +
		`0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"`
	for _, c := range []struct {
		content string
		mode    os.FileMode
		want    string
	}{
		{good + "}]}", 0o644, ""},
		{good + "}]}", 0o444, ""},
		{good + "}]}", 0o664, "can write"},
		{good + `,"d":"AQAB"}]}`, 0o600, "private key"},
		{good + `},{"kty":"RSA","kid":"b","e":"AQAB","n":"AQAB"}]}`, 0o600, "can't be used"},
		{`{"keys":[]}`, 0o600, "can't be read"},
		{"", 0o600, "can't be read"},
		{"missing", 0, "no such file"},
	} {
		_ = os.Remove(file)
		if c.mode != 0 {
			if err := os.WriteFile(file, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		found := judged(t, roomy, "CLERK_JWKS_URL=file://"+file)
		got := texts(found.Warnings, "CLERK_JWKS_URL")
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") || len(found.Notes) > 0 {
			t.Errorf("%.20q, mode %v: %q, %+v; want %q", c.content, c.mode, got, found.Notes, c.want)
		}
	}
	if err := os.WriteFile(file, []byte(good+"}]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := texts(judged(t, roomy, "CLERK_JWKS_URL=file://"+file).Warnings, "CLERK_JWKS_URL"); !strings.Contains(got, "can write "+dir) {
		t.Errorf("a directory that all can write: %q", got)
	}
}

func TestMemoryLimit(t *testing.T) {
	const meminfo = "MemTotal:       2097152 kB\n"
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
		whose string
	}{
		"nothing known":  {fstest.MapFS{}, 0, ofMachine},
		"machine":        {fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}}, 2 * gib, ofMachine},
		"no limit":       {fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}, "sys/fs/cgroup/memory.max": {Data: []byte("max\n")}}, 2 * gib, ofMachine},
		"container":      {fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}, "sys/fs/cgroup/memory.max": {Data: []byte("1073741824\n")}, "proc/self/cgroup": {Data: []byte("0::/\n")}}, gib, ofGroup},
		"version 1":      {fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": {Data: []byte("1073741824\n")}}, gib, ofGroup},
		"version 1, all": {fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}, "sys/fs/cgroup/memory/memory.limit_in_bytes": {Data: []byte("9223372036854771712\n")}}, 2 * gib, ofMachine},
		"a service": {fstest.MapFS{"proc/self/cgroup": {Data: []byte("12:cpu:/x\n0::/system.slice/wsproxy.service\n")},
			"sys/fs/cgroup/system.slice/memory.max": {Data: []byte("1048576")}, "sys/fs/cgroup/system.slice/wsproxy.service/memory.max": {Data: []byte("max")}}, mib, ofGroup},
		"a service, version 1": {fstest.MapFS{"proc/self/cgroup": {Data: []byte("4:memory:/a/b\n")},
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": {Data: []byte("1048576")}}, mib, ofGroup},
	} {
		if got, whose := (machine{c.files}).memoryLimit(); got != c.want || whose != c.whose {
			t.Errorf("%s: %d of %s, want %d of %s", name, got, whose, c.want, c.whose)
		}
	}
}

// output runs the command as it is registered, but for the machine.
func output(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	status = cli.Execute(t.Context(), Command, args, cli.Streams{Out: &out, Err: &err, Environ: environ})
	return status, out.String(), err.String()
}

func TestOutput(t *testing.T) {
	environ := append([]string{"TUNNEL_NAME_SECRET=s3cret-s3cret-s3cret-s3cret-s3cret", "JWT_ISSUER=a\x1b[31m", "PORT= 9000 ", "BLOCKED_TARGET=10.0.0.0/8"}, private...)
	environ[1] = "ALLOWED_ORIGINS=https://user:pass@a.example"
	if status, _, stderr := output(t, environ); status != 2 || !strings.Contains(stderr, "can't be read:\nALLOWED_ORIGINS is") || strings.Contains(stderr, "pass") || strings.Contains(stderr, "--help") {
		t.Errorf("status %d, %q", status, stderr)
	}
	environ[1] = "TUNNEL_DOMAIN=T.example"
	status, stdout, stderr := output(t, environ)
	if status != 1 || stderr != "" || strings.Contains(stdout, "s3cret") || strings.Contains(stdout, "\x1b") {
		t.Errorf("status %d, %q\n%s", status, stderr, stdout)
	}
	for _, want := range []string{"* PORT ", " 9000\n", "  LOG_LEVEL ", "* TUNNEL_NAME_SECRET ", "a secret of 34 bytes\n", "https://*.t.example\n", "\nWarning: BLOCKED_TARGET: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it doesn't say %q:\n%s", want, stdout)
		}
	}
	if status, stdout, _ := output(t, environ, "--accept", "BLOCKED_TARGET"); status != 0 || !strings.Contains(stdout, "No warnings.") || !strings.Contains(stdout, "Note: BLOCKED_TARGET: accepted: ") {
		t.Errorf("accepted: status %d\n%s", status, stdout)
	}
	if status, _, _ := output(t, environ, "--accept", "PORT"); status != 1 {
		t.Errorf("accepted is something else: status %d", status)
	}
	if status, _, stderr := output(t, environ, "--accept", "BLOCKED_TARGETZ"); status != 2 || !strings.Contains(stderr, "BLOCKED_TARGETZ") {
		t.Errorf("what there is none of is accepted: status %d, %q", status, stderr)
	}
	if status, _, _ := output(t, environ, "more"); status != 2 {
		t.Errorf("an argument: status %d", status)
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		environ []string
		status  int
	}{
		{private, 0},
		{nil, 1},
		{[]string{"PORT=x", "LOG_LEVEL=loud"}, 2},
	} {
		status, stdout, stderr := output(t, c.environ, "--json", "--accept", "TUNNEL_BUFFER_TOTAL,GOMEMLIMIT")
		var found report
		if err := json.Unmarshal([]byte(stdout), &found); err != nil || status != c.status || found.Status != c.status || stderr != "" {
			t.Errorf("%q: status %d, %q, %v\n%s", c.environ, status, stderr, err, stdout)
			continue
		}
		switch c.status {
		case 2:
			if len(found.Errors) != 2 || !strings.HasPrefix(found.Errors[0], "PORT is") || strings.Contains(stdout, "null") {
				t.Errorf("the errors are %q", found.Errors)
			}
		default:
			if len(found.Settings) < 40 || found.Settings[0] != (setting{"PORT", "8080", false}) || strings.Contains(stdout, "null") {
				t.Errorf("the settings are %+v", found.Settings)
			}
		}
	}
}

// The file of settings is judged as the server reads it.
func TestFileOfSettings(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "wsproxy.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("CLERK_JWKS_URL=https://k.example/jwks\nJWT_AUDIENCE=wsproxy\nMAX_CONNS_PER_IP=20\n")
	found := judged(t, roomy, "CONFIG_FILE="+path)
	if found.Status != 0 || len(found.Warnings)+len(found.Notes) > 0 || !slices.Contains(found.Settings, setting{"MAX_CONNS_PER_IP", "20", true}) {
		t.Errorf("%+v", found)
	}
	write("CLERK_JWKS_URL=https://k.example/jwks\nJWT_AUDIENCE=wsproxy\nMAX_CONNS_PER_IP=20\nGOMEMLIMIT=1GiB\nMAX_CONN_PER_USER=7\n")
	found = judged(t, roomy, "CONFIG_FILE="+path, "MAX_CONNS_PER_IP=30")
	for variable, want := range map[string]string{"CONFIG_FILE": "sets GOMEMLIMIT, which nobody reads", "MAX_CONNS_PER_IP": "comes first", "MAX_CONN_PER_USER": "CONFIG_FILE sets it, and it looks like MAX_CONNS_PER_USER"} {
		if said := texts(found.Warnings, variable); !strings.Contains(said, want) {
			t.Errorf("of %s is said %q", variable, said)
		}
	}
	write("MAX_CONNS_PER_IP=20\nLOG_LEVEL\n")
	if found = judged(t, roomy, "CONFIG_FILE="+path); found.Status != cli.StatusUsage || len(found.Errors) != 2 || !strings.Contains(found.Errors[1], "line 2") {
		t.Errorf("%+v", found)
	}
}
