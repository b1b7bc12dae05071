package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A tunnelReply is what an outside client got.
type tunnelReply struct {
	status int
	header http.Header
	body   string
	length int64 // Content-Length, -1 without one
}

// tunnelHTTP is an HTTP client that adds nothing of its own, follows nothing,
// and ends with the test.
func tunnelHTTP(t *testing.T) *http.Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100, ExpectContinueTimeout: patience}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 2 * patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tunnelAsk sends a request to a host of the server.
func tunnelAsk(client *http.Client, s *server, method, host, path string, header http.Header, body io.Reader) (tunnelReply, error) {
	request, err := http.NewRequest(method, s.url(path), body)
	if err != nil {
		return tunnelReply{}, err
	}
	request.Host = host
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := client.Do(request)
	if err != nil {
		return tunnelReply{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return tunnelReply{response.StatusCode, response.Header, string(data), response.ContentLength}, err
}

// tunnelGet gets a path of a tunnel, and fails the test if there is no answer.
func tunnelGet(t *testing.T, client *http.Client, s *server, host, path string) tunnelReply {
	t.Helper()
	reply, err := tunnelAsk(client, s, "GET", host, path, nil, nil)
	if err != nil {
		t.Fatalf("GET %s of %s: %v", path, host, err)
	}
	return reply
}

// A tunnelWire is an HTTP connection on which a test writes what it wants.
type tunnelWire struct {
	*net.TCPConn
	in *bufio.Reader
}

func tunnelWireTo(t *testing.T, s *server) *tunnelWire {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &tunnelWire{conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// say writes lines of a request's header, and the empty line after them.
func (w *tunnelWire) say(t *testing.T, lines ...string) {
	t.Helper()
	if _, err := io.WriteString(w, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// hear reads an answer to a request with a method.
func (w *tunnelWire) hear(t *testing.T, method string) tunnelReply {
	t.Helper()
	response, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("half an answer: %v", err)
	}
	return tunnelReply{response.StatusCode, response.Header, string(body), response.ContentLength}
}

// tunnelNoise is an endless stream of bytes that a seed determines.
func tunnelNoise(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// tunnelSum returns the hash of what a reader gives, and how much that was.
func tunnelSum(r io.Reader) (sum [sha256.Size]byte, n int64, err error) {
	h := sha256.New()
	n, err = io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 64<<10))
	return [sha256.Size]byte(h.Sum(nil)), n, err
}

// tunnelPing sends a few bytes and waits for their echo.
func tunnelPing(conn net.Conn) (time.Duration, error) {
	began := time.Now()
	if _, err := conn.Write([]byte("ping")); err != nil {
		return 0, err
	}
	var back [4]byte
	_, err := io.ReadFull(conn, back[:])
	if err == nil && !bytes.Equal(back[:], []byte("ping")) {
		err = io.ErrUnexpectedEOF
	}
	return time.Since(began), err
}
