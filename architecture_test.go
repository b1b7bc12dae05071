package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The size of a package that one person still reads from end to end, without
// tests. Both are of docs/architecture.md.
const (
	maxFiles = 16
	maxLines = 2200 // "some 2,000"
)

// maxFileLines bounds a file, tests included.
const maxFileLines = 400

const module = "wsproxy"

// A rule says what a package may import. Paths are relative to the module; one
// that ends with "/..." stands for the package and all below it. A rule of a
// package that there is none of yet waits for it.
type rule struct {
	packages string
	// only lists all packages of the project that may be imported; nil leaves
	// that to never.
	only []string
	// never lists what must not be imported, of the project or with its full
	// path.
	never []string
	why   string
}

var nothing = []string{}

// rules are those of docs/architecture.md, one for one.
var rules = []rule{
	{packages: "messages", only: nothing, why: "everything stands on it"},
	{packages: "messages/refused", only: []string{"messages"}, why: "edge and actors say it alike"},
	{packages: "messages/inspect", only: []string{"messages"}, why: "actors and commands stand on it"},
	{packages: "server/admin", only: []string{"config", "messages", "messages/inspect"}, why: "it asks actors, by their PIDs"},
	{packages: "auth", only: []string{"messages"}, why: "who is asking is a question of its own"},
	{packages: "netpolicy", only: []string{"messages"}, why: "where to and where from is a question of its own"},
	{packages: "transport/wsock/kernel", only: nothing, why: "it is what the kernel says"},
	{packages: "transport/wsock/splice", only: nothing, why: "it moves bytes, whatever they are"},
	{packages: "transport/wsock/rest", only: nothing, why: "it waits for connections, whatever they carry"},
	{packages: "transport/wsock", only: []string{"messages", "transport/wsock/kernel", "transport/wsock/rest", "transport/wsock/splice"}, why: "a WebSocket knows nothing of what it carries, and clients use it too"},
	{packages: "transport/wsock/replay", only: []string{"messages", "transport/wsock"}, why: "it is state without input and output, and both sides of a session have it"},
	{packages: "transport/budget", only: nothing, why: "it counts, whatever it is"},
	{packages: "transport/listen", only: []string{"messages", "transport/listen/proxyheader", "transport/wsock", "transport/wsock/kernel"}, why: "it knows connections, and nothing that is said over them"},
	{packages: "transport/listen/proxyheader", only: nothing, why: "it is a format"},
	{packages: "messages/renewal", only: nothing, why: "both edge and actors stand on it"},
	{packages: "transport/renewer", only: []string{"messages/renewal", "transport/wsock"}, why: "relay and tunnel stand on it, and who judges is handed over"},
	{packages: "transport/bandwidth", only: nothing, why: "it counts, whoever passes bytes"},
	{packages: "transport/resume", only: []string{"messages/...", "transport/budget", "transport/renewer", "transport/wsock/..."}, why: "relay and tunnel stand on it"},
	{packages: "transport/tunnel/sendqueue", only: []string{"messages", "transport/tunnel/inflight", "transport/wsock", "transport/wsock/kernel"}, why: "streams and sockets stand on it"},
	{packages: "config", only: []string{"auth", "netpolicy", "messages"}, why: "it calls their parsers and starts nothing"},
	{packages: "server/certs", only: nothing, why: "it has certificates, whoever shows them"},
	{packages: "metrics", only: []string{"messages"}, why: "gauges come as functions"},
	{packages: "client/go/...", only: []string{"messages", "transport/wsock", "transport/wsock/kernel", "transport/wsock/replay", "client/go/..."}, why: "a client shares the wire with the server, frames, and replay"},

	{packages: "page", only: nothing, why: "it is handed what the page must know of its server"},

	{packages: "command/...", only: []string{"client/go", "config", "auth", "messages", "messages/inspect", "command/..."}, why: "commands are run elsewhere than the server"},
	{packages: "command/screen", only: nothing, why: "it is text"},
	{packages: "command/cli", only: nothing, why: "all commands stand on it"},

	{packages: "actors/...", never: []string{"transport/...", "net/http", "github.com/gorilla/..."}, why: "every actor can be driven by messages alone"},
	{packages: "transport/...", never: []string{"actors/..."}, why: "they know each other by messages"},
	{packages: "transport/relay", never: []string{"transport/tunnel", "transport/forward"}, why: "a relay is no tunnel"},
	{packages: "transport/tunnel", never: []string{"transport/relay", "transport/forward"}, why: "forward stands on tunnel"},
	{packages: "transport/forward", never: []string{"transport/relay"}, why: "a tunnel is no relay"},
	{packages: "transport/service", never: []string{"transport/relay", "transport/forward"}, why: "forward stands on service"},

	{packages: "command/...", never: []string{"server", "transport/...", "actors/...", "metrics"}, why: "the other end knows the server by the wire"},
	{packages: "page/sshclient", only: []string{"page/sshclient/..."}, why: "it is an SSH client, over any connection"},
	{packages: "page/sshclient/knownhosts", only: nothing, why: "it is what is known, whoever asks"},
	{packages: "page/sshclient/agent", only: nothing, why: "it knows keys by an interface"},
	{packages: "page/sshclient/webauthn", only: nothing, why: "it is a format"},
	{packages: "page/sshclient/pkcs8", only: nothing, why: "it is a format"},
	{packages: "page/sftpclient", only: nothing, why: "it transfers files, over any stream"},
	{packages: "page/wasm", only: []string{"page/sshclient", "page/sftpclient"}, why: "it binds them to JavaScript, and does nothing else"},
	{packages: "internal/demo", only: nothing, why: "it starts the server's binary"},
	{packages: "internal/bench/...", only: []string{"internal/bench/..."}, why: "it knows the server by the contract alone"},
	{packages: "internal/bench/measure", only: nothing, why: "it measures processes, whatever they are"},
	{packages: "internal/bench/reference", only: nothing, why: "it is a unit of measure"},
	{packages: "internal/attack/...", only: []string{"internal/attack/..."}, why: "it knows the server by the contract alone"},

	// What is made of all the others is not known to them.
	{packages: "actors/...", never: []string{"config", "metrics", "auth"}, why: "the server is made of them"},
	{packages: "transport/...", never: []string{"config", "metrics"}, why: "the server is made of them"},
}

// privates are packages that a few others alone may import, whoever comes.
var privates = []struct {
	path      string
	importers []string
	why       string
}{
	{"transport/gossh", []string{"transport"}, "what one client needs is plugged in at the edge, by an interface"},
	{"page", []string{"server"}, "the edge serves it without knowing what it is"},
	{"server", []string{""}, "main runs it, and nobody else knows the whole"},
	{"server/admin", []string{"server"}, "the server mounts it"},
	{"server/certs", []string{"server"}, "it has keys"},
	{"command", []string{""}, "main runs it, and it knows all commands"},
	{"internal/testkit/acmeca", nil, "only tests use it"},
	{"internal/testkit", []string{"internal/testkit/acmeca", "internal/testkit/tunnelrig", "internal/testkit/buffers", "internal/testkit/desk"}, "only tests use it"},
	{"internal/testkit/buffers", []string{"internal/testkit/tunnelrig"}, "only tests use it"},
	{"internal/testkit/desk", nil, "only tests use it"},
	{"internal/testkit/tunnelrig", nil, "only tests use it"},
	{"internal/testkit/sshd", nil, "only tests use it"},
	{"page/sshclient", []string{"page/wasm"}, "it runs in the page"},
	{"page/sftpclient", []string{"page/wasm"}, "it runs in the page"},
}

// A goPackage is what go list says of a package, test files apart.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	// For other systems than this one, or by a build tag.
	IgnoredGoFiles []string
	CgoFiles       []string
	Imports        []string
}

// path is relative to the module, "" for the root.
func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// sources are all files but tests, of any system.
func (p goPackage) sources() []string {
	files := slices.Concat(p.GoFiles, p.CgoFiles)
	for _, file := range p.IgnoredGoFiles {
		if !strings.HasSuffix(file, "_test.go") {
			files = append(files, file)
		}
	}
	return files
}

// listPackages lists the packages of this system, or with their files ignored.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	packages := goList(t, "./...")
	if len(packages) < 8 {
		t.Fatalf("go list names %d packages, there are more", len(packages))
	}
	return packages
}

func goList(t *testing.T, pattern string, environment ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles,CgoFiles,Imports", pattern)
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// covers reports whether a package, or an import, is one of those that pattern
// means.
func covers(pattern, path string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == tree || strings.HasPrefix(path, tree+"/")
	}
	return path == pattern
}

func anyCovers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return covers(pattern, path) })
}

// broken lists the imports of a package that break a rule, each as a sentence.
func broken(path string, imports []string) []string {
	var faults []string
	for _, r := range rules {
		if !covers(r.packages, path) {
			continue
		}
		for _, imported := range imports {
			own, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				own = imported
			}
			if ours && r.only != nil && !anyCovers(r.only, own) || anyCovers(r.never, own) {
				faults = append(faults, fmt.Sprintf("%s must not import %s: %s", path, own, r.why))
			}
		}
	}
	for _, private := range privates {
		if slices.Contains(imports, module+"/"+private.path) && !slices.Contains(private.importers, path) {
			faults = append(faults, fmt.Sprintf("%s must not import %s: %s", path, private.path, private.why))
		}
	}
	return faults
}

func TestImportRules(t *testing.T) {
	// What is compiled for browsers alone has no imports on this system.
	browser := goList(t, "./page/wasm", "GOOS=js", "GOARCH=wasm")
	for _, p := range slices.Concat(listPackages(t), browser) {
		for _, fault := range broken(p.path(), p.Imports) {
			t.Error(fault)
		}
	}
}

// The rules see what they are there for, in packages too that don't exist yet.
func TestImportRulesCanBreak(t *testing.T) {
	for _, test := range []struct {
		path, imported string
		allowed        bool
	}{
		{"messages", "wsproxy/auth", false},
		{"messages", "net/http", true},
		{"auth", "wsproxy/netpolicy", false},
		{"auth", "wsproxy/messages", true},
		{"netpolicy", "wsproxy/auth", false},
		{"transport/wsock", "wsproxy/netpolicy", false},
		{"transport/wsock", "wsproxy/transport/gossh", false},
		{"transport/wsock", "wsproxy/messages", true},
		{"transport/wsock/replay", "wsproxy/transport/budget", false},
		{"transport/wsock/replay", "wsproxy/transport/wsock", true},
		{"transport/resume", "wsproxy/transport/relay", false},
		{"transport/resume", "wsproxy/transport/tunnel", false},
		{"transport/resume", "wsproxy/transport/wsock/replay", true},
		{"transport/tunnel/sendqueue", "wsproxy/transport/tunnel", false},
		{"transport/tunnel/sendqueue", "wsproxy/transport/budget", false},
		{"transport/tunnel/sendqueue", "wsproxy/transport/tunnel/inflight", true},
		{"config", "wsproxy/server", false},
		{"config", "wsproxy/auth", true},
		{"metrics", "wsproxy/auth", false},
		{"actors", "wsproxy/transport", false},
		{"transport/wsock", "wsproxy/transport/wsock/replay", false},
		{"transport/wsock/replay", "wsproxy/transport/wsock", true},
		{"transport/wsock/replay", "wsproxy/transport/budget", false},
		{"actors", "wsproxy/transport/wsock", false},
		{"actors", "net/http", false},
		{"actors", "github.com/gorilla/websocket", false},
		{"actors", "wsproxy/messages", true},
		{"transport", "wsproxy/actors", false},
		{"transport/relay", "wsproxy/actors", false},
		{"transport/relay", "wsproxy/transport/tunnel", false},
		{"transport/tunnel", "wsproxy/transport/relay", false},
		{"transport/tunnel", "wsproxy/transport/forward", false},
		{"transport/forward", "wsproxy/transport/tunnel", true},
		{"transport/tunnel", "wsproxy/transport/gossh", false},
		{"transport/relay", "wsproxy/transport/gossh", false},
		{"transport/forward", "wsproxy/transport/gossh", false},
		{"transport", "wsproxy/transport/gossh", true},
		{"transport/gossh", "wsproxy/transport/tunnel", true},
		{"client/go", "wsproxy/netpolicy", false},
		{"client/go", "wsproxy/transport", false},
		{"client/go", "wsproxy/transport/wsock", true},
		{"client/go", "wsproxy/transport/wsock/replay", true},
		{"client/go/example", "wsproxy/client/go", true},
		{"client/go/example", "wsproxy/server", false},
		{"command", "wsproxy/command/keys", true},
		{"command", "wsproxy/server", false},
		{"command/check", "wsproxy/config", true},
		{"command/check", "wsproxy/netpolicy", false},
		{"command/connect", "wsproxy/client/go", true},
		{"command/connect", "wsproxy/client/go/internal/session", false},
		{"command/expose/page", "wsproxy/transport/wsock", false},
		{"command/expose/page", "wsproxy/actors", false},
		{"command/keys", "wsproxy/auth", true},
		{"command/keys", "wsproxy/command", false},
		{"command/cli", "wsproxy/command/keys", false},
		{"page", "wsproxy/config", false},
		{"server", "wsproxy/page", true},
		{"transport", "wsproxy/page", false},
		{"internal/demo", "wsproxy/server", false},
		{"page/sshclient", "wsproxy/messages", false},
		{"page/sshclient", "wsproxy/page/sftpclient", false},
		{"page/sftpclient", "wsproxy/page/sshclient", false},
		{"page/wasm", "wsproxy/page/sftpclient", true},
		{"page/wasm", "wsproxy/client/go", false},
		{"server", "wsproxy/page/sshclient", false},
		{"", "wsproxy/command", true},
		{"server", "wsproxy/command", false},
		{"server", "wsproxy/actors", true},
		{"server", "wsproxy/transport/gossh", false},
		{"actors", "wsproxy/server", false},
		{"", "wsproxy/server", true},
		{"server", "wsproxy/internal/testkit", false},
		{"internal/bench/wire", "wsproxy/messages", false},
		{"internal/bench/load", "wsproxy/internal/bench/wire", true},
		{"internal/bench/reference", "wsproxy/internal/bench/wire", false},
	} {
		faults := broken(test.path, []string{test.imported})
		if len(faults) == 0 != test.allowed {
			t.Errorf("%s imports %s: allowed is %v, want %v (%q)", test.path, test.imported, !test.allowed, test.allowed, faults)
		}
	}
}

func TestPackagesStaySmall(t *testing.T) {
	for _, p := range listPackages(t) {
		files, lines := p.sources(), 0
		for _, file := range files {
			lines += countLines(t, filepath.Join(p.Dir, file))
		}
		if len(files) > maxFiles {
			t.Errorf("%s has %d files beside its tests, at most %d are readable: take it apart", p.ImportPath, len(files), maxFiles)
		}
		if lines > maxLines {
			t.Errorf("%s has %d lines beside its tests, at most %d are readable: take it apart", p.ImportPath, lines, maxLines)
		}
	}
}

// Every package says what it is in a file of its own, and no file is longer
// than can be read from top to bottom.
func TestFilesAreReadable(t *testing.T) {
	for _, p := range listPackages(t) {
		// The one of main is the comment of the command, in main.go.
		if p.path() != "" && len(p.sources()) > 0 && !slices.Contains(p.sources(), "doc.go") {
			t.Errorf("%s has no doc.go that says what it is, who calls it and what it may not know", p.ImportPath)
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if lines := countLines(t, file); lines > maxFileLines {
				t.Errorf("%s/%s has %d lines, at most %d are readable", p.ImportPath, filepath.Base(file), lines, maxFileLines)
			}
		}
	}
}

func countLines(t *testing.T, file string) int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20) // some test data is one long line
	for scanner.Scan() {
		lines++
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
