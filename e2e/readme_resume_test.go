package e2e

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/pages.md says under "A session that outlives its WebSocket": OpenSSH through a
// line that cuts every connection after ten seconds.
func TestReadmeSessionOutlivesItsWebSocket(t *testing.T) {
	t.Parallel()
	tunnelTool(t, "node")
	tunnelTool(t, "ssh")
	r := followReadme(t)
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(here, "client"), filepath.Join(r.dir, "client")); err != nil { // the repository's folder
		t.Fatal(err)
	}
	_, own, _ := net.SplitHostPort(r.find(t, `\n    curl http://(127.0.0.1:\d+)/health\n`)[0])
	l, err := net.Listen("tcp4", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	_, free, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	r.text = strings.NewReplacer("net.connect(8080,", "net.connect("+own+",", "listen(8081,", "listen("+free+",",
		"127.0.0.1:8081", "127.0.0.1:"+free).Replace(r.text)

	cuts := r.command(t, "exec "+r.find(t, "(?s)\n```sh\n(node -e '.*?')\n```\n")[0])
	said := &output{}
	cuts.Stdout, cuts.Stderr = said, said
	if err := cuts.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cuts.Wait()
	}()
	t.Cleanup(func() {
		_ = cuts.Cancel()
		<-ended
	})
	eventually(t, patience, "the line that cuts", func() bool {
		select {
		case <-ended:
			t.Fatalf("the line has ended: %s", said)
		default:
		}
		conn, err := net.Dial("tcp4", "127.0.0.1:"+free)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})

	r.save(t, "ssh-pipe.mjs")
	line := r.find(t, `\n    (ssh -o ProxyCommand='node \S+ ssh-pipe\.mjs .*)\n`)[0]
	addr, key := tunnelSSHD(t, t.TempDir())
	_, port, _ := net.SplitHostPort(addr)
	line = strings.Replace(line, "ssh ", "ssh -F none -p "+port+" -i "+key+" -o IdentitiesOnly=yes -o BatchMode=yes "+
		"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=known ", 1)
	cmd := r.command(t, line+" 'sleep 12; echo still there'")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "still there\n" || !strings.Contains(stderr.String(), "back after ") {
		t.Errorf("%s: %v, prints %q\n%s", line, err, out, &stderr)
	}
}
