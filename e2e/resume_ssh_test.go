package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A real SSH session, while its WebSocket is cut over and over.

// sshCut are the times between two cuts.
const sshCutLeast, sshCutMost = 100 * time.Millisecond, 2 * time.Second

// doorTo listens where OpenSSH's client finds what is behind a resumable relay.
func doorTo(t *testing.T, via resumeVia, far net.Addr) (port int, sessions func() []*resumeClient) {
	t.Helper()
	var mu sync.Mutex
	var all []*resumeClient
	l := target(t, func(conn *net.TCPConn) {
		c := resumeOpen(t, via, relayPath(far), hasty, func(c *resumeClient) { c.window = 256 << 10 })
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{conn})
			_ = c.CloseWrite()
		})
		both.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{c})
			conn.CloseWrite()
		})
		both.Wait()
		if err := c.end(); err != nil && err != io.EOF && err != net.ErrClosed {
			t.Errorf("after %d take-ups a session ends with %v", c.takenUp(), err)
		}
	})
	return l.(*net.TCPAddr).Port, func() []*resumeClient {
		mu.Lock()
		defer mu.Unlock()
		return append([]*resumeClient(nil), all...)
	}
}

// scp copies a file each way at once.
func TestResumeSCPThroughCuts(t *testing.T) {
	t.Parallel()
	s, d := resumePlainServer(t), startSSHD(t)
	dir := t.TempDir()
	size := resumeBig(64 << 20)
	from, there, back := filepath.Join(dir, "from"), filepath.Join(dir, "there"), filepath.Join(dir, "back")
	file, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(file, tunnelNoise(6), size); err != nil {
		t.Fatal(err)
	}
	file.Close()
	p := cutting(t, s, sshCutLeast, sshCutMost)
	port, sessions := doorTo(t, p.via(), d.addr)
	options := []string{
		"-q", "-F", "none", "-i", d.keyFile, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR", "-P", strconv.Itoa(port),
	}
	scp := tunnelTool(t, "scp")
	run := func(from, to string) {
		cmd := exec.CommandContext(t.Context(), scp, append(append([]string(nil), options...), from, to)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("scp %s %s: %v, %s\n%s", from, to, err, out, d.Log())
		}
	}
	began := time.Now()
	var both sync.WaitGroup
	taken := 0
	// On a machine that is quick all of it may fall between two cuts.
	for taken == 0 && !t.Failed() && time.Since(began) < patience {
		both.Go(func() { run(from, d.User+"@127.0.0.1:"+there) })
		both.Go(func() { run(d.User+"@127.0.0.1:"+from, back) })
		both.Wait()
		for _, c := range sessions() {
			taken += c.takenUp()
		}
	}
	t.Logf("%d MiB each way in %v, %d take-ups", size>>20, time.Since(began), taken)
	if taken == 0 {
		t.Error("no session was ever taken up")
	}
	for _, path := range []string{there, back} {
		file, err := os.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		wantNoise(t, filepath.Base(path), file, 6, size)
		file.Close()
	}
}

// resumeSSH logs in through a resumable relay.
func resumeSSH(t *testing.T, via resumeVia, d *sshd) (*ssh.Client, *resumeClient) {
	t.Helper()
	conn := resumeOpen(t, via, relayPath(d.addr), hasty)
	c, channels, requests, err := ssh.NewClientConn(conn, d.addr.String(), &ssh.ClientConfig{
		User: d.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(d.Signer)}, HostKeyCallback: ssh.FixedHostKey(d.HostKey),
	})
	if err != nil {
		t.Fatalf("no SSH: %v\n%s", err, d.Log())
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { client.Close() })
	return client, conn
}

// A shell in which every key is answered, and beside it a tail -f: not a line is
// missing.
func TestResumeTerminalThroughCuts(t *testing.T) {
	t.Parallel()
	s, d := resumeServer(t), startSSHD(t)
	p := cutting(t, s, sshCutLeast, sshCutMost/2)
	client, conn := resumeSSH(t, p.via(), d)

	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	follow, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	var followed screen
	follow.Stdout = &followed
	if err := follow.Start("exec tail -n +1 -f " + log); err != nil {
		t.Fatal(err)
	}

	session, keys, show := startShell(t, client)
	show.expect(t, "ready> ")
	var want bytes.Buffer
	for n := 0; n < 8 || conn.takenUp() < 5 && n < 200; n++ {
		line := fmt.Sprintf("line %d of %d\n", n, rand.IntN(1000))
		want.WriteString(line)
		_, _ = file.WriteString(line)
		for _, key := range "echo $((6*" + strconv.Itoa(n) + "))" {
			_, _ = io.WriteString(keys, string(key))
			show.expect(t, string(key))
		}
		_, _ = io.WriteString(keys, "\r")
		show.expect(t, fmt.Sprintf("\r\n%d\r\n", 6*n))
		show.expect(t, "ready> ")
	}
	eventually(t, patience, "the last line", func() bool {
		return strings.HasSuffix(followed.String(), want.String()[want.Len()-5:]) && followed.len() >= want.Len()
	})
	if followed.String() != want.String() {
		t.Errorf("tail shows %q, not %q", followed.String(), want.String())
	}
	_, _ = io.WriteString(keys, "exit\r")
	if err := session.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d take-ups", conn.takenUp())
}

func (s *screen) len() int { return len(s.String()) }
