package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A gosshStrict is an HTTP service written by hand, which is particular about
// what it reads: it refuses two Content-Length lines, even like ones, and it
// remembers whatever came that was no request.
type gosshStrict struct {
	addr  string
	close bool // it closes after each answer, and says so

	mu     sync.Mutex
	faults []string // under mu
}

func gosshStrictServer(t *testing.T, closes bool) *gosshStrict {
	t.Helper()
	strict := &gosshStrict{close: closes}
	strict.addr = target(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for again := true; again; {
			again = strict.one(conn, in)
		}
	}).String()
	return strict
}

// one answers one request, and reports whether another may follow.
func (strict *gosshStrict) one(conn *net.TCPConn, in *bufio.Reader) bool {
	fail := func(err error) bool {
		strict.mu.Lock()
		defer strict.mu.Unlock()
		strict.faults = append(strict.faults, err.Error())
		return false
	}
	if _, err := in.Peek(1); err != nil {
		return false // the end, between two requests
	}
	text := textproto.NewReader(in)
	line, err := text.ReadLine()
	if err != nil {
		return fail(fmt.Errorf("after %q: %w", line, err))
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || words[2] != "HTTP/1.1" {
		return fail(fmt.Errorf("not a request: %q", line))
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return fail(err)
	}
	status, body := http.StatusOK, io.Reader(http.NoBody)
	lengths := header["Content-Length"]
	switch {
	case len(lengths) > 1:
		status = http.StatusBadRequest
	case strings.EqualFold(header.Get("Transfer-Encoding"), "chunked"):
		body = httputil.NewChunkedReader(in)
	case len(lengths) == 1:
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		if err != nil {
			return fail(err)
		}
		body = io.LimitReader(in, n)
	}
	h := sha256.New()
	n, err := io.Copy(h, body)
	if err != nil {
		return fail(err)
	}
	if header.Get("Transfer-Encoding") != "" {
		if end, err := text.ReadLine(); end != "" || err != nil { // the end of the trailer
			return fail(fmt.Errorf("after the chunks: %q, %w", end, err))
		}
	}
	again := !strict.close && status == http.StatusOK && !strings.EqualFold(header.Get("Connection"), "close")
	ending := ""
	if !again {
		ending = "Connection: close\r\n"
	}
	answer := fmt.Sprintf("%s %d %x", words[0], n, h.Sum(nil))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), ending, len(answer), answer)
	return again && err == nil
}

// wrong returns what came that was no request.
func (strict *gosshStrict) wrong() []string {
	strict.mu.Lock()
	defer strict.mu.Unlock()
	return append([]string(nil), strict.faults...)
}

// gosshSink is a service that reads n bytes, once for each word from may, which
// may be closed, and then says the hash of what it read.
func gosshSink(t *testing.T, n int64, may <-chan struct{}) string {
	t.Helper()
	gone := make(chan struct{})
	addr := target(t, func(conn *net.TCPConn) {
		_ = conn.SetReadBuffer(64 << 10)
		sum, _, err := tunnelSum(io.LimitReader(tunnelReader(func(p []byte) (int, error) {
			select {
			case <-may:
				return conn.Read(p)
			case <-gone:
				return 0, net.ErrClosed
			}
		}), n))
		if err == nil {
			_, _ = conn.Write(sum[:])
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	t.Cleanup(func() { close(gone) })
	return addr.String()
}

// gosshBanner is a service that speaks first, and then sends back what comes.
func gosshBanner(t *testing.T, banner string) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, banner)
		_, _ = io.Copy(conn, conn)
	}).String()
}

// gosshSource is a service that sends a text, and then reads on.
func gosshSource(t *testing.T, text []byte) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		_, _ = conn.Write(text)
		_, _ = io.Copy(io.Discard, conn)
	}).String()
}
