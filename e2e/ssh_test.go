package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/crypto/ssh"
)

// A wsConn makes a stream of a WebSocket, as a browser's SSH client does.
type wsConn struct {
	*websocket.Conn
	message io.Reader    // owned by the reader: the message under way
	pings   atomic.Int32 // that have come
	ended   chan error   // gets the error that ended the reading
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			_, message, err := c.NextReader()
			if err != nil {
				select {
				case c.ended <- err:
				default:
				}
				return 0, err
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(p []byte) (int, error) {
	return len(p), c.WriteMessage(websocket.BinaryMessage, p)
}

func (c *wsConn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

// expectClose waits for the end of the WebSocket, which must be a close with
// this code.
func (c *wsConn) expectClose(t *testing.T, code int) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-c.ended:
		if !websocket.IsCloseError(err, code) {
			t.Errorf("the WebSocket ended with %v, want close %d", err, code)
		}
	case <-timer.C:
		t.Errorf("the WebSocket did not end, want close %d", code)
	}
}

// dialSSH logs in to d through a relay.
func dialSSH(t *testing.T, s *server, d *sshd) (*ssh.Client, *wsConn) {
	t.Helper()
	conn := &wsConn{Conn: dial(t, s, d.addr), ended: make(chan error, 1)}
	answer := conn.PingHandler()
	conn.SetPingHandler(func(text string) error {
		conn.pings.Add(1)
		return answer(text)
	})
	c, channels, requests, err := ssh.NewClientConn(conn, d.addr.String(), &ssh.ClientConfig{
		User:            d.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(d.Signer)},
		HostKeyCallback: ssh.FixedHostKey(d.HostKey),
		Timeout:         patience,
	})
	if err != nil {
		t.Fatalf("no SSH: %v\n%s", err, d.Log())
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { client.Close() })
	return client, conn
}

// runSSH runs a command with this input and returns its output.
func runSSH(client *ssh.Client, command string, stdin io.Reader) (string, error) {
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	session.Stdin = stdin
	out, err := session.Output(command)
	return string(out), err
}

func TestSSHCommandFails(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	client, _ := dialSSH(t, s, d)
	if out, err := runSSH(client, "echo to you; cat", strings.NewReader("and me")); out != "to you\nand me" || err != nil {
		t.Errorf("got %q, error %v", out, err)
	}
	var failed *ssh.ExitError
	if _, err := runSSH(client, "exit 42", nil); !errors.As(err, &failed) || failed.ExitStatus() != 42 {
		t.Errorf("exit 42 came as %v", err)
	}
	client.Close()
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_gone" {
		t.Errorf("the log says %q", reason) // x/crypto closes the connection beneath, without a close frame
	}
}

// A screen is what a terminal has shown so far.
type screen struct {
	output
	seen int
}

// expect waits for the text in what was shown since the last one.
func (s *screen) expect(t *testing.T, text string) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%q on the screen", text), func() bool {
		at := strings.Index(s.String()[s.seen:], text)
		if at >= 0 {
			s.seen += at + len(text)
		}
		return at >= 0
	})
}

// startShell starts a plain shell in a terminal, whatever the user's own does when it
// starts.
func startShell(t *testing.T, client *ssh.Client) (session *ssh.Session, keys io.WriteCloser, show *screen) {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	if err := session.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		t.Fatal(err)
	}
	show = new(screen)
	session.Stdout = show
	if keys, err = session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := session.Start("PS1='ready> ' ENV= exec sh -i"); err != nil {
		t.Fatal(err)
	}
	return session, keys, show
}

func TestSSHTerminalFails(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	client, _ := dialSSH(t, s, d)
	session, keys, show := startShell(t, client)
	type_ := func(line string) {
		t.Helper()
		if _, err := io.WriteString(keys, line); err != nil {
			t.Fatal(err)
		}
	}
	show.expect(t, "ready> ")
	type_("echo $((6*7))\r")
	show.expect(t, "echo $((6*7))\r\n") // what was typed is echoed
	show.expect(t, "42\r\n")
	show.expect(t, "ready> ")
	type_("stty size\r")
	show.expect(t, "24 80")
	show.expect(t, "ready> ")
	if err := session.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	type_("stty size\r")
	show.expect(t, "50 132")
	show.expect(t, "ready> ")
	for _, key := range "sh -c 'echo up$((1)); exec sleep 1000'" { // key by key, as people do
		type_(string(key))
		show.expect(t, string(key))
	}
	type_("\r")
	show.expect(t, "up1\r\n")
	type_("\x03") // the terminal's interrupt
	show.expect(t, "ready> ")
	type_("exit 7\r")
	var failed *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &failed) || failed.ExitStatus() != 7 {
		t.Errorf("exit 7 came as %v", err)
	}
}

func TestSSHDamagesBulkData(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	client, _ := dialSSH(t, s, d)
	bulk := newData(64 << 20)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	got := newTally()
	session.Stdin, session.Stdout = bulk.reader(), got
	if err := session.Run("cat"); err != nil { // both ways at the same time
		t.Fatal(err)
	}
	got.expect(t, bulk)
}

func TestEightSSHSessionsMixed(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	var running sync.WaitGroup
	for i := range 8 {
		client, _ := dialSSH(t, s, d)
		running.Go(func() {
			block := bytes.Repeat([]byte{byte('a' + i)}, 1<<20)
			for range 2 {
				out, err := runSSH(client, "cat", bytes.NewReader(block))
				if err != nil || sha256.Sum256([]byte(out)) != sha256.Sum256(block) {
					t.Errorf("session %d: %d bytes came back of %d, error %v", i, len(out), len(block), err)
				}
			}
		})
	}
	running.Wait()
}

func TestSSHDiesOfSilence(t *testing.T) {
	t.Parallel()
	const quietly = 20 * time.Second
	s, d := start(t, allowLoopback(), pingEvery(5*time.Second)), startSSHD(t)
	client, conn := dialSSH(t, s, d)
	before := conn.pings.Load()
	timer := time.NewTimer(quietly)
	defer timer.Stop()
	select {
	case err := <-conn.ended:
		t.Fatalf("the WebSocket ended: %v", err)
	case <-timer.C:
	}
	if n := conn.pings.Load() - before; n < 3 || n > 5 {
		t.Errorf("%d pings came in %v, want one in 5s", n, quietly)
	}
	if out, err := runSSH(client, "echo alive", nil); out != "alive\n" || err != nil {
		t.Errorf("after the silence: %q, error %v", out, err)
	}
}

func TestSSHOutlivesAKilledSSHD(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	client, conn := dialSSH(t, s, d)
	session := idle(t, client)
	d.killSessions()
	conn.expectClose(t, websocket.CloseNormalClosure)
	if err := session.Wait(); err == nil {
		t.Error("the command of a killed sshd succeeded")
	}
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "target_ended" {
		t.Errorf("the log says %q", reason)
	}

	// Nobody listens any more.
	_ = d.Process.Kill()
	<-d.Exited
	expectClosed(t, dial(t, s, d.addr), websocket.CloseInternalServerErr, "cannot reach target")
}

// idle starts a command that waits for its input to end, and has seen it run.
func idle(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	keys, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(keys, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return session
}

func TestSSHSessionOutlivesItsClient(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback()), startSSHD(t)
	client, conn := dialSSH(t, s, d)
	idle(t, client)
	if len(d.sessions()) == 0 {
		t.Fatal("sshd has no process for the session")
	}
	tcp := conn.NetConn().(*net.TCPConn)
	_ = tcp.SetLinger(0)
	tcp.Close()
	eventually(t, patience, "the end of sshd's processes for the session", func() bool { return len(d.sessions()) == 0 })
	end := s.waitLog(t, "relay ended")
	if end["reason"] != "client_gone" || end["bytes_up"] == 0.0 || end["bytes_down"] == 0.0 {
		t.Errorf("the log says %v", end)
	}
}

func TestSSHNotToldOfShutdown(t *testing.T) {
	t.Parallel()
	s, d := start(t, allowLoopback(), "SHUTDOWN_TIMEOUT=5s"), startSSHD(t)
	client, conn := dialSSH(t, s, d)
	idle(t, client)
	s.signal(syscall.SIGTERM)
	s.waitLog(t, `"msg":"draining`)
	if out, err := runSSH(client, "echo still here", nil); out != "still here\n" || err != nil {
		t.Errorf("while draining: %q, error %v", out, err)
	}
	conn.expectClose(t, websocket.CloseGoingAway)
	conn.Close()
	if code := s.wait(lingers + slack); code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, patience, "the end of sshd's processes for the session", func() bool { return len(d.sessions()) == 0 })
}
