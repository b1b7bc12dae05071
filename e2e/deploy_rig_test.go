package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A front is a front proxy that runs with a file of deploy/. It speaks TLS for
// localhost, whom relays and tunnels are asked of, and for tunnels' hosts.
type front struct {
	addr      string
	authority string // file with the certificate that its own are signed with
	out       output
	process   *os.Process
	ended     chan struct{}
}

// fromElsewhere is where the clients of a front are, whose own address is another one.
const fromElsewhere = "127.0.0.2"

// freeAddress returns an address of loopback that nobody listens on now.
func freeAddress(t *testing.T) (address, port string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port
}

// deployFile writes a file of deploy/ to where, with words replaced, each of which has
// to be there.
func deployFile(t *testing.T, name, where string, words ...string) {
	t.Helper()
	data, err := os.ReadFile("../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i+1 < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Fatalf("deploy/%s has no %q", name, words[i])
		}
		text = strings.ReplaceAll(text, words[i], words[i+1])
	}
	if err := os.WriteFile(where, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// frontCertificate writes a certificate for names, and its key behind it or, with key,
// apart.
func (f *front) certificate(t *testing.T, file, key string, names ...string) {
	t.Helper()
	a := newAuthority(t, "front")
	f.authority = a.file
	made := a.certificateFor(t, time.Now().Add(time.Hour), names...)
	secret, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if key == "" {
		public = append(public, private...)
	} else if err := os.WriteFile(key, private, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts it, with all that it starts, and ends that with the test.
func (f *front) run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	f.ended = make(chan struct{})
	cmd.Stdout, cmd.Stderr = &f.out, &f.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.process = cmd.Process
	go func() {
		_ = cmd.Wait()
		close(f.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-f.process.Pid, syscall.SIGKILL)
		<-f.ended
		if t.Failed() {
			t.Logf("the front proxy says:\n%s", &f.out)
		}
	})
	eventually(t, patience, "the front proxy listens", func() bool {
		select {
		case <-f.ended:
			t.Fatal("the front proxy has ended")
		default:
		}
		conn, err := net.Dial("tcp4", f.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// url is what the commands are told.
func (f *front) url() string {
	_, port, _ := net.SplitHostPort(f.addr)
	return "wss://localhost:" + port
}

func (f *front) tls(t *testing.T) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(f.authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", f.authority)
	}
	return &tls.Config{RootCAs: roots}
}

// dialFrom connects to the front from an address, whatever the name is.
func (f *front) dialFrom(source string) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		return dialer.DialContext(ctx, "tcp4", f.addr)
	}
}

// client asks for tunnels' hosts, over HTTP/2.
func (f *front) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: f.tls(t), DialContext: f.dialFrom(fromElsewhere)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// webSocket opens one from an address. What the client says of its own address is a lie.
func (f *front) webSocket(t *testing.T, source, url string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: f.tls(t), NetDialContext: f.dialFrom(source)}
	ws, _, err := dialer.Dial(url, http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Real-Ip": {"203.0.113.9"}})
	return ws, err
}

// A deployedService is behind a tunnel. It says who asks, and streams.
type deployedService struct {
	*httptest.Server
	more chan struct{} // lets the second half of /halves out
}

func newDeployedService(t *testing.T) *deployedService {
	s := &deployedService{more: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q over %s", r.Header.Values("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	})
	mux.HandleFunc("/halves", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		<-s.more
		_, _ = io.WriteString(w, "two\n")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		if kind, text, err := ws.ReadMessage(); err == nil {
			_ = ws.WriteMessage(kind, text)
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// wantServed checks all that a front proxy has to do: tunnels' HTTP, uploads, streams
// and WebSockets, relays, and who it says is asking. It returns the tunnel.
func (f *front) wantServed(t *testing.T, servers ...*server) (tunnel *exposed, root string) {
	t.Helper()
	service := newDeployedService(t)
	_, inside, _ := net.SplitHostPort(service.Listener.Addr().String())
	tunnel = exposeBinary(t, binaryPath, "--json", "--ca", f.authority, f.url(), inside)
	host := tunnel.host(1)
	root = "https://" + host
	client := f.client(t)

	request, _ := http.NewRequest(http.MethodGet, root+"/who", nil)
	request.Header.Set("X-Forwarded-For", "203.0.113.9")
	request.Header.Set("X-Real-IP", "203.0.113.9")
	if got, want := f.answer(t, client, request), fmt.Sprintf("[%q] over https", fromElsewhere); got != want {
		t.Errorf("who asks is %s, want %s", got, want)
	}

	response, err := client.Get(root + "/halves")
	if err != nil {
		t.Fatal(err)
	}
	halves := bufio.NewReader(response.Body)
	first, err := halves.ReadString('\n') // the second one has not been written yet
	close(service.more)
	second, _ := halves.ReadString('\n')
	response.Body.Close()
	if first != "one\n" || second != "two\n" {
		t.Errorf("the halves are %q and %q, %v", first, second, err)
	}

	const size = 1 << 20
	response, err = client.Post(root+"/echo", "application/octet-stream", io.LimitReader(tunnelNoise(8), size))
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Errorf("the service answers %s over %s", response.Status, response.Proto)
	}
	wantNoise(t, "the echo", response.Body, 8, size)
	response.Body.Close()

	// Who looks for what is wrong asks without a WebSocket.
	response, err = client.Get("https" + strings.TrimPrefix(f.url(), "wss") + "/tunnel")
	if err != nil {
		t.Errorf("what is no WebSocket, over HTTP/2: %v", err)
	} else {
		response.Body.Close()
		// A field that is of one connection makes curl and browsers drop the answer.
		if upgrade := response.Header["Upgrade"]; response.StatusCode != http.StatusUpgradeRequired || response.ProtoMajor != 2 || upgrade != nil {
			t.Errorf("what is no WebSocket is answered %s over %s, Upgrade: %q", response.Status, response.Proto, upgrade)
		}
	}

	ws, err := f.webSocket(t, fromElsewhere, "wss://"+host+"/socket")
	if err != nil {
		t.Fatalf("a WebSocket through the tunnel: %v", err)
	}
	defer ws.Close()
	echo(t, ws, "through a tunnel")

	f.wantRelay(t, fromElsewhere)
	for _, s := range servers {
		for _, line := range s.logLines(`"relay started"`) {
			if line["source"] != fromElsewhere {
				t.Errorf("the source of a relay is %v, want %s", line["source"], fromElsewhere)
			}
		}
	}
	return tunnel, root
}

// wantRelay opens a relay and closes it.
func (f *front) wantRelay(t *testing.T, source string) {
	t.Helper()
	ws, err := f.webSocket(t, source, f.url()+relayPath(echoServer(t)))
	if err != nil {
		t.Fatalf("a relay: %v", err)
	}
	defer ws.Close()
	echo(t, ws, "through a relay")
}

// answer is the body of an answer that has to be 200.
func (f *front) answer(t *testing.T, client *http.Client, request *http.Request) string {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %s %q, %v", request.URL, response.Status, body, err)
	}
	return string(body)
}

// wantSessionsThrough has a session of a command, and a tunnel, go on through a reload,
// which takes their WebSockets away.
func (f *front) wantSessionsThrough(t *testing.T, reload func(), root string, servers ...*server) {
	t.Helper()
	_, far, _ := net.SplitHostPort(echoServer(t).String())
	cmd := connectCommand(t, "--ca", f.authority, f.url(), "127.0.0.1", far)
	said := &output{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	say := func(word string) {
		_, _ = io.WriteString(in, word+"\n")
		if got, err := lines.ReadString('\n'); got != word+"\n" {
			t.Fatalf("the echo of %q is %q, %v\n%s", word, got, err, said)
		}
	}
	say("before")
	reload()
	eventually(t, patience, "the relay and the tunnel are taken up", func() bool {
		relays, tunnels := 0, 0
		for _, s := range servers {
			relays += len(s.logLines(`"relay resumed"`))
			tunnels += len(s.logLines(`"tunnel resumed"`))
		}
		return relays > 0 && tunnels > 0
	})
	say("after")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("connect: %v\n%s", err, said)
	}
	request, _ := http.NewRequest(http.MethodGet, root+"/who", nil)
	f.answer(t, f.client(t), request)
}

// home is a directory that the workers of a front proxy can enter, whoever they are.
func frontHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(home)
}
