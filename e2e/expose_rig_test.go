package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An exposed is a wsproxy expose that runs.
type exposed struct {
	t        *testing.T
	process  *exec.Cmd
	out, err *output
	exited   chan struct{} // closed when it has ended
	code     int           // exit status; set before exited is closed
}

// expose starts the command with --json against a server. It ends with the test.
func expose(t *testing.T, s *server, args ...string) *exposed {
	t.Helper()
	return exposeBinary(t, binaryPath, append([]string{"--json", s.ws("")}, args...)...)
}

func exposeBinary(t *testing.T, binary string, args ...string) *exposed {
	t.Helper()
	e := &exposed{t: t, out: &output{}, err: &output{}, exited: make(chan struct{})}
	e.process = exec.Command(binary, append([]string{"expose"}, args...)...)
	e.process.Stdout, e.process.Stderr = e.out, e.err
	e.process.Env = []string{"GORACE=atexit_sleep_ms=0"}
	if err := e.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.process.Wait()
		e.code = e.process.ProcessState.ExitCode()
		close(e.exited)
	}()
	t.Cleanup(func() {
		e.interrupt()
		select {
		case <-e.exited:
		case <-time.After(patience):
			_ = e.process.Process.Kill()
			t.Error("expose did not end by SIGINT and was killed")
		}
		if log := e.err.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic: ") {
			t.Error("expose has a race or a panic")
		}
		if t.Failed() {
			t.Logf("expose wrote\n%s\n%s", e.out, e.err)
		}
	})
	return e
}

// interrupt is a Ctrl-C.
func (e *exposed) interrupt() { _ = e.process.Process.Signal(syscall.SIGINT) }

// wait waits for the end, and returns the exit status.
func (e *exposed) wait() int {
	e.t.Helper()
	select {
	case <-e.exited:
		return e.code
	case <-time.After(patience):
		e.t.Fatal("expose does not end")
		return 0
	}
}

// events returns what it has written of a kind.
func (e *exposed) events(kind string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(e.out.String()) {
		var event map[string]any
		if json.Unmarshal([]byte(line), &event) == nil && event["event"] == kind {
			found = append(found, event)
		}
	}
	return found
}

// event waits for the n-th event of a kind, from 1.
func (e *exposed) event(kind string, n int) map[string]any {
	e.t.Helper()
	var found []map[string]any
	eventually(e.t, patience, fmt.Sprintf("event %q number %d", kind, n), func() bool {
		found = e.events(kind)
		return len(found) >= n
	})
	return found[n-1]
}

// host waits for the n-th address, from 1, and returns its host.
func (e *exposed) host(n int) string {
	e.t.Helper()
	address, _ := e.event("ready", n)["url"].(string)
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		e.t.Fatalf("the address is %q", address)
	}
	return u.Hostname()
}

// says waits for words on standard error.
func (e *exposed) says(words string) {
	e.t.Helper()
	eventually(e.t, patience, "the words "+words, func() bool { return strings.Contains(e.err.String(), words) })
}
