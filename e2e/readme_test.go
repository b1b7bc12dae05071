package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A readme is README.md and docs/pages.md with the port of a server that runs, and a directory
// to follow it in.
type readme struct {
	text string
	dir  string
}

// followReadme starts a server as README.md says, on another port.
func followReadme(t *testing.T) *readme {
	t.Helper()
	var text []byte
	for _, file := range []string{"../README.md", "../docs/pages.md"} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	s := makeRun(t)
	_, port, _ := net.SplitHostPort(s.addr)
	return &readme{strings.ReplaceAll(string(text), "127.0.0.1:8080", "127.0.0.1:"+port), t.TempDir()}
}

// find returns what the groups of a pattern match, which must be there once.
func (r *readme) find(t *testing.T, pattern string) []string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(r.text, -1)
	if len(found) != 1 {
		t.Fatalf("README.md and docs/pages.md have %d of %s, want 1", len(found), pattern)
	}
	return found[0][1:]
}

// save writes the script that the text says to save under this name.
func (r *readme) save(t *testing.T, name string) {
	t.Helper()
	script := r.find(t, "(?s)ave this as `"+regexp.QuoteMeta(name)+"`.*?\n```js\n(.*?)\n```\n")[0]
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command is a command of the text, in the shell of whoever follows it.
func (r *readme) command(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = r.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "NODE_OPTIONS=")
	})
	cmd.Env = append(cmd.Env, "NO_PROXY=*", "no_proxy=*")
	// The shell may have children, which end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// run runs a command of the text and returns what it prints.
func (r *readme) run(t *testing.T, line string) string {
	t.Helper()
	cmd := r.command(t, line)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v, %s", line, err, &stderr)
	}
	return string(out)
}

// What docs/pages.md says under "A relay": OpenSSH through a script of a few lines,
// in whichever Node is there.
func TestReadmeRelay(t *testing.T) {
	t.Parallel()
	tunnelTool(t, "node")
	tunnelTool(t, "ssh")
	r := followReadme(t)
	if got := r.run(t, r.find(t, `\n    (curl \S+/health)\n`)[0]); got != "ok" {
		t.Errorf("/health answers %q", got)
	}

	r.save(t, "ws-pipe.mjs")
	pipe := r.find(t, "`-o (ProxyCommand='node [^`]* [^`]*')`")[0]
	line := regexp.MustCompile(`ProxyCommand='websocat [^']*'`).ReplaceAllLiteralString(r.find(t, `\n    (ssh -o ProxyCommand='websocat .*)\n`)[0], pipe)
	addr, key := tunnelSSHD(t, t.TempDir())
	_, port, _ := net.SplitHostPort(addr)
	line = strings.Replace(line, "ssh ", "ssh -F none -p "+port+" -i "+key+" -o IdentitiesOnly=yes -o BatchMode=yes "+
		"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=known ", 1)
	sent := newData(8 << 20)
	cmd := r.command(t, line+" 'cat; exit 42'")
	var stderr bytes.Buffer
	got := newTally()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = sent.reader(), got, &stderr
	var failed *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &failed) || failed.ExitCode() != 42 {
		t.Fatalf("%s: %v, want exit status 42\n%s", line, err, &stderr)
	}
	got.expect(t, sent)

	// A relay that is refused ends the script, and ssh.
	node := strings.NewReplacer("ProxyCommand='", "", "'", "", "%h", "10.0.0.1", "%p", "22").Replace(pipe)
	if err := r.command(t, node).Run(); !errors.As(err, &failed) || failed.ExitCode() != 1 {
		t.Errorf("%s: %v, want exit status 1", node, err)
	}

	judged := r.find(t, `(?s)\n    \$ (curl [^\n]*)\n    ([^\n]*)\n    \$ (curl [^\n]*)\n    ([^\n]*)\n`)
	for i := 0; i < len(judged); i += 2 {
		if got := strings.TrimSpace(r.run(t, judged[i])); got != judged[i+1] {
			t.Errorf("%s prints %q, not %q", judged[i], got, judged[i+1])
		}
	}
}

// What docs/pages.md says under "A tunnel": a page of a few lines, in whichever
// Node is there.
func TestReadmeTunnel(t *testing.T) {
	t.Parallel()
	tunnelTool(t, "node")
	r := followReadme(t)
	r.save(t, "page.mjs")
	page := r.command(t, "exec "+r.find(t, "run `(node [^`]*page\\.mjs)`")[0])
	said := &output{}
	page.Stdout, page.Stderr = said, said
	if err := page.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = page.Wait()
	}()
	t.Cleanup(func() {
		_ = page.Cancel()
		<-ended
	})
	ready := regexp.MustCompile(`(?m)^http://([0-9a-f]{16})\.(tunnel\.localhost:\d+) raw TCP on port (\d+)$`)
	eventually(t, patience, "the tunnel's address", func() bool {
		select {
		case <-ended:
			t.Fatalf("the page has ended:\n%s", said)
		default:
		}
		return ready.MatchString(said.String())
	})
	mine := ready.FindStringSubmatch(said.String())
	example := r.find(t, `\n    http://([0-9a-f]{16})\.(tunnel\.localhost:\d+) raw TCP on port (\d+)\n`)
	replace := strings.NewReplacer(example[0], mine[1], example[1], mine[2], example[2], mine[3])
	curl := replace.Replace(r.find(t, `\n    (curl http://`+example[0]+`\S+)\n`)[0])
	if got := r.run(t, curl); got != "GET /hello reached a web page\n" {
		t.Errorf("%s prints %q", curl, got)
	}
	raw := replace.Replace(r.find(t, `\n    (bash -c .*)\n`)[0])
	if got := r.run(t, raw); got != "ping\n" {
		t.Errorf("%s prints %q", raw, got)
	}
}
