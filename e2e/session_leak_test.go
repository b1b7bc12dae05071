package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// dialTCP opens a bare connection to the server.
func dialTCP(t *testing.T, s *server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// metric returns the value of a metric without labels.
func (s *server) metric(t *testing.T, name string) int {
	t.Helper()
	addr, _ := s.waitLog(t, `"msg":"metrics are served"`)["address"].(string)
	_, body := get(t, "http://"+addr+"/metrics")
	scanner := bufio.NewScanner(strings.NewReader(body))
	for scanner.Scan() {
		if value, ok := strings.CutPrefix(scanner.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(f)
		}
	}
	t.Fatalf("there is no metric %q", name)
	return 0
}

// mostPipes is how many descriptors of pipes a server may have: two for each of those by which
// bytes are spliced, of which some stay until the collector has run twice, and its output's.
const mostPipes = 2*64 + 4

// descriptors returns how many files and sockets the server has open, but for pipes.
func (s *server) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(s.pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	n, pipes := 0, 0
	for _, entry := range entries {
		link, _ := os.Readlink("/proc/" + strconv.Itoa(s.pid) + "/fd/" + entry.Name())
		if strings.HasPrefix(link, "pipe:") {
			pipes++
		} else {
			n++
		}
	}
	if pipes > mostPipes {
		t.Fatalf("the server has %d descriptors of pipes", pipes)
	}
	return n
}

// waysToEnd ends sessions in every way there is, over and over.
type waysToEnd struct {
	t        *testing.T
	s        *server
	echo     string // URL of a relay to a target that lives
	ends     string // to one that sends something and ends
	resets   string // to one that sends something and resets
	floods   string // to one that sends until its peer ends
	closed   string // to a port where nobody listens
	plainURL string // of a relay, for requests that don't upgrade
}

func newWaysToEnd(t *testing.T, s *server) *waysToEnd {
	echo := echoServer(t)
	_, port, _ := net.SplitHostPort(echo.String())
	return &waysToEnd{
		t: t, s: s,
		echo: relayURL(s, echo),
		ends: relayURL(s, target(t, func(conn *net.TCPConn) { _, _ = conn.Write(make([]byte, 100_000)) })),
		resets: relayURL(s, target(t, func(conn *net.TCPConn) {
			_, _ = conn.Write(make([]byte, 100_000))
			_ = conn.SetLinger(0)
		})),
		floods: relayURL(s, target(t, func(conn *net.TCPConn) {
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}()
			_, _ = io.Copy(conn, zeros{})
		})),
		closed:   relayURL(s, closedPort(t)),
		plainURL: s.url("/relay?host=127.0.0.1&port=" + port),
	}
}

// zeros is a stream of bytes that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// ways are called by many goroutines at once, and may not end the test.
func (w *waysToEnd) ways() map[string]func() error {
	return map[string]func() error{
		"the client closes":                         w.close(w.echo, 1000),
		"the client closes while the target floods": w.close(w.floods, 1000),
		"the target ends":                           w.await(w.ends, nil, 1000),
		"the target resets":                         w.await(w.resets, nil, 1011),
		"the target is unreachable":                 w.await(w.closed, nil, 1011),
		"a text message":                            w.await(w.echo, frame(finBit|opText, []byte("x")), 1003),
		"a forbidden frame":                         w.await(w.floods, frame(finBit|0x5, nil), 1002),
		"the client ends within a message":          w.endWithin,
		"bytes come with the handshake":             w.early,
		"the client resets":                         w.vanish(w.floods, (*rawClient).vanish),
		"the client resets without a word":          w.vanish(w.echo, (*rawClient).vanish),
		"the client's connection ends":              w.vanish(w.echo, func(c *rawClient) { c.Close() }),
		"the client ends its sending side":          w.vanish(w.floods, func(c *rawClient) { _ = c.CloseWrite() }),
		"no upgrade":                                w.plain,
		"half a handshake":                          w.half,
	}
}

func (w *waysToEnd) await(url string, send []byte, code int) func() error {
	return func() error {
		c, err := openRaw(url, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(send); err != nil {
			return err
		}
		if e, err := c.toClose(); err != nil || e.code != code {
			return fmt.Errorf("want close %d, got %d, error %v", code, e.code, err)
		}
		return nil
	}
}

func (w *waysToEnd) close(url string, code int) func() error {
	return w.await(url, append(frame(finBit|opBinary, []byte("x")), frame(finBit|opClose, closePayload(code, ""))...), code)
}

func (w *waysToEnd) vanish(url string, vanish func(*rawClient)) func() error {
	return func() error {
		c, err := openRaw(url, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = c.Write(frame(finBit|opBinary, []byte("x")))
		vanish(c)
		_, _ = io.Copy(io.Discard, c)
		return nil
	}
}

// endWithin ends the client's sending side in the middle of a message.
func (w *waysToEnd) endWithin() error {
	c, err := openRaw(w.echo, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(append(frameHeader(finBit|opBinary, 2<<20), make([]byte, 1000)...)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if e, err := c.toClose(); err != nil || e.code != 1000 {
		return fmt.Errorf("want close 1000, got %d, error %v", e.code, err)
	}
	return nil
}

func (w *waysToEnd) early() error {
	r, err := request(w.s.addr, "GET", strings.TrimPrefix(w.plainURL, w.s.url("")), append(upgrading(), "", "x")...)
	if err == nil && r.status != http.StatusBadRequest {
		err = fmt.Errorf("answered %d", r.status)
	}
	return err
}

func (w *waysToEnd) plain() error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(w.plainURL)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

func (w *waysToEnd) half() error {
	conn, err := net.Dial("tcp", w.s.addr)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, "GET /relay?host=127.0.0.1&port=1 HTTP/1.1\r\nHost: x\r\nUpgr")
	conn.Close()
	return err
}

// run ends sessions in each way, times times, in workers goroutines.
func (w *waysToEnd) run(times, workers int) {
	w.t.Helper()
	type job struct {
		name string
		end  func() error
	}
	jobs := make(chan job)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for j := range jobs {
				if err := j.end(); err != nil {
					w.t.Errorf("%s: %v", j.name, err)
				}
			}
		})
	}
	for range times {
		for name, end := range w.ways() {
			jobs <- job{name, end}
		}
	}
	close(jobs)
	running.Wait()
}

func TestEndedSessionsLeaveSomething(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0", "METRICS_ADDR=127.0.0.1:0")
	w := newWaysToEnd(t, s)
	quietly := func(what string) {
		t.Helper()
		eventually(t, patience, what, func() bool { return s.metric(t, "wsproxy_relay_sessions") == 0 })
	}
	w.run(1, 4) // whatever is made once is made now
	quietly("the end of the first sessions")
	var goroutines, descriptors int
	eventually(t, patience, "a server at rest", func() bool {
		g, d := s.metric(t, "go_goroutines"), s.descriptors(t)
		still := g == goroutines && d == descriptors
		goroutines, descriptors = g, d
		return still
	})

	w.run(36, 16) // 504 in all
	quietly("the end of all sessions")
	eventually(t, patience, "as few goroutines as before", func() bool { return s.metric(t, "go_goroutines") <= goroutines })
	eventually(t, patience, "as few descriptors as before", func() bool { return s.descriptors(t) <= descriptors })
	t.Logf("%d goroutines and %d descriptors before and after", goroutines, descriptors)
}
