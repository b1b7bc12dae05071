package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// patience is how long anything may take that has no time of its own. It
	// is long because the machine may be busy; a test that passes never waits
	// for it.
	patience = time.Minute
	// pollEvery is how often a condition that can't be waited for is looked at.
	pollEvery = 5 * time.Millisecond
)

// binaryPath is the path of the server, built once by TestMain.
var binaryPath string

// plainBinary returns the path of the server as it is released, without the
// race detector. It is WSPROXY_BINARY, if that is set, or built at the first call.
var plainBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WSPROXY_BINARY"); path != "" {
		return path, nil
	}
	path := binaryPath + "-plain"
	build := exec.Command("go", "build", "-trimpath", "-o", path, ".")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the server can't be built: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	// Most tests wait most of the time, so more of them run at once than there
	// are processors, unless the command line says how many.
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("6")
	}
	go machine.watch()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wsproxy-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaryPath = filepath.Join(dir, "wsproxy")
	build := exec.Command("go", "build", "-race", "-pgo=off", "-o", binaryPath, ".")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=1") // as the race detector needs it
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: the server can't be built: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A server is one process of the real binary.
type server struct {
	addr string // host:port of its HTTP listener
	pid  int

	process *os.Process
	out     *output
	exited  chan struct{} // closed when the process has ended and all its output was read
	code    int           // exit code; set before exited is closed
}

// start starts the binary on a free port of the loopback interface and waits
// until it listens. env is "NAME=value"; the later one wins. The server ends
// with the test, which fails if the log shows a race or a panic.
func start(t *testing.T, env ...string) *server {
	t.Helper()
	s := launch(t, env...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	if s.addr == "" {
		t.Fatalf("the line \"listening\" has no address\n%s", s.log())
	}
	return s
}

// launch is start without the waiting, for a server that is not to come up.
func launch(t *testing.T, env ...string) *server { return launchBinary(t, binaryPath, env...) }

func launchBinary(t *testing.T, path string, env ...string) *server {
	t.Helper()
	s := &server{out: &output{}, exited: make(chan struct{})}
	cmd := exec.Command(path)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SSL_CERT_FILE"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	// The race detector would hold every exit up for a second.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, "PORT=0", "BIND=127.0.0.1", "LOG_LEVEL=debug")
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.pid = cmd.Process, cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		s.code = cmd.ProcessState.ExitCode()
		close(s.exited)
	}()
	t.Cleanup(func() { s.stop(t) })
	return s
}

// stop ends the process if it still runs, and looks through its log.
func (s *server) stop(t *testing.T) {
	// The second signal ends it at once. Two that come together are one to
	// the kernel, so there are more.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for running := true; running; {
		_ = s.process.Signal(syscall.SIGTERM) // fails only once it has ended
		select {
		case <-s.exited:
			running = false
		case <-again.C:
		case <-late.C:
			_ = s.process.Kill()
			<-s.exited
			t.Errorf("the server did not end by SIGTERM and was killed")
			running = false
		}
	}
	log := s.log()
	for _, bad := range []string{"DATA RACE", "\npanic: ", "fatal error: ", "panic serving", `"a pump failed"`, `"an actor failed"`} {
		if strings.Contains(log, bad) {
			t.Errorf("the server's log contains %q", bad)
		}
	}
	if t.Failed() {
		const most = 20_000
		if len(log) > most {
			log = "..." + log[len(log)-most:]
		}
		t.Logf("the server's output:\n%s", log)
	}
}

// url returns the http URL of a path and query.
func (s *server) url(pathAndQuery string) string { return "http://" + s.addr + pathAndQuery }

// ws returns the WebSocket URL of a path and query.
func (s *server) ws(pathAndQuery string) string { return "ws://" + s.addr + pathAndQuery }

// log returns what the server has written to stdout and stderr so far.
func (s *server) log() string { return s.out.String() }

// waitLog waits for a line that contains substring and returns it; it fails
// the test if there is none in time, or the server has ended without it.
func (s *server) waitLog(t *testing.T, substring string) map[string]any {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ended := s.hasEnded() // asked before the log is read, which then is complete
		if lines := s.logLines(substring); len(lines) > 0 {
			return lines[0]
		}
		if ended || time.Now().After(deadline) {
			t.Fatalf("no line with %q in the server's log (ended: %v)\n%s", substring, ended, s.log())
		}
		pause()
	}
}

// logLines returns all JSON lines so far that contain substring.
func (s *server) logLines(substring string) []map[string]any {
	var found []map[string]any
	scanner := bufio.NewScanner(strings.NewReader(s.log()))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if !strings.Contains(scanner.Text(), substring) {
			continue
		}
		var line map[string]any
		if json.Unmarshal(scanner.Bytes(), &line) == nil {
			found = append(found, line)
		}
	}
	return found
}

func (s *server) signal(sig os.Signal) { _ = s.process.Signal(sig) }

func (s *server) hasEnded() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// wait waits for the end of the process and returns its exit code, or -1 if it
// still runs after timeout.
func (s *server) wait(timeout time.Duration) int {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-s.exited:
		return s.code
	case <-timer.C:
		return -1
	}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // under mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// allowLoopback is the setting with which relays may lead to this machine.
func allowLoopback() string { return "BLOCKED_TARGETS=none" }

// dialWS makes a WebSocket handshake. The connection is closed with the test.
// It answers pings without holding the reader up.
func dialWS(t *testing.T, url string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	ws, response, err := dialer.Dial(url, header)
	if err == nil {
		t.Cleanup(func() { ws.Close() })
		ws.SetPingHandler(func(text string) error {
			// The library's own handler breaks the connection when the server
			// does not take the pong within a second.
			go func() { _ = ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(patience)) }()
			return nil
		})
	}
	return ws, response, err
}

// relayURL is the URL of a relay to target.
func relayURL(s *server, target net.Addr) string {
	host, port, _ := net.SplitHostPort(target.String())
	return s.ws("/relay?" + url.Values{"host": {host}, "port": {port}}.Encode())
}

// eventually waits until condition holds, and fails the test if it doesn't in
// time. To be called by the test's own goroutine.
func eventually(t *testing.T, timeout time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", timeout, what)
		}
		pause()
	}
}

// pause lets a moment pass between two looks at a condition.
func pause() { <-time.After(pollEvery) }
