package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A strictRequest is a request as a service's socket got it, read by a parser that
// takes nothing but what RFC 9112 calls well-formed.
type strictRequest struct {
	line     string
	fields   []string // "Name: value", in order
	body     string
	trailers []string
	err      error // why it is not well-formed
}

var (
	strictLine  = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.1\r\n$`)
	strictField = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ([^\\x00-\\x20\\x7f]([^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?)?\\r\\n$")
	strictChunk = regexp.MustCompile(`^[0-9A-Fa-f]{1,8}\r\n$`)
)

// readStrict reads one request. Its error is io.EOF if there is none.
func readStrict(in *bufio.Reader) (r strictRequest, err error) {
	if r.line, err = in.ReadString('\n'); err != nil {
		if r.line != "" {
			err = fmt.Errorf("half a request line: %q, %w", r.line, io.ErrUnexpectedEOF)
		}
		return r, err
	}
	if !strictLine.MatchString(r.line) {
		return r, fmt.Errorf("a bad request line: %q", r.line)
	}
	if r.fields, err = readStrictFields(in); err != nil {
		return r, err
	}
	if hosts := r.values("Host"); len(hosts) != 1 {
		return r, fmt.Errorf("the hosts are %q", hosts)
	}
	lengths, codings := r.values("Content-Length"), r.values("Transfer-Encoding")
	switch {
	case len(lengths) == 1 && len(codings) == 0:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil {
			return r, err
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			return r, fmt.Errorf("half a body: %w", err)
		}
		r.body = string(body)
	case len(codings) == 1 && codings[0] == "chunked" && len(lengths) == 0:
		return r, r.readChunks(in)
	case len(lengths)+len(codings) > 0:
		return r, fmt.Errorf("lengths %q and codings %q", lengths, codings)
	}
	return r, nil
}

func (r *strictRequest) readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil || !strictChunk.MatchString(line) {
			return fmt.Errorf("a bad chunk: %q, %w", line, errors.Join(err))
		}
		n, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 31)
		if n == 0 {
			r.trailers, err = readStrictFields(in)
			return err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil || string(chunk[n:]) != "\r\n" {
			return fmt.Errorf("half a chunk: %w", errors.Join(err))
		}
		r.body += string(chunk[:n])
	}
}

func readStrictFields(in *bufio.Reader) (fields []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if line == "\r\n" {
			return fields, nil
		}
		if err != nil || !strictField.MatchString(line) {
			return fields, fmt.Errorf("a bad field: %q, %w", line, errors.Join(err))
		}
		fields = append(fields, strings.TrimSuffix(line, "\r\n"))
	}
}

// values returns the values of a field, in order.
func (r *strictRequest) values(name string) (values []string) {
	for _, field := range r.fields {
		if n, value, _ := strings.Cut(field, ": "); strings.EqualFold(n, name) {
			values = append(values, value)
		}
	}
	return values
}

// strictService reads requests strictly, one after another, and answers each. got
// has room for all of them, the malformed ones too, which end their connection.
func strictService(t *testing.T, got chan<- strictRequest, answer string) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		_ = conn.SetDeadline(time.Now().Add(2 * patience))
		for in := bufio.NewReader(conn); ; {
			r, err := readStrict(in)
			if errors.Is(err, io.EOF) && r.line == "" || errors.Is(err, net.ErrClosed) {
				return
			}
			var network *net.OpError
			if errors.As(err, &network) {
				return // cut, and so nothing that a service could take for a request
			}
			r.err = err
			got <- r
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, answer)
		}
	}).String()
}

// The parser itself takes what it should, and nothing else.
func TestStrictHTTP(t *testing.T) {
	t.Parallel()
	const post = "POST /a?b HTTP/1.1\r\nHost: h\r\n"
	for raw, body := range map[string]string{
		"GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\nA:  \r\n\r\n":                                 "!",
		"GET / HTTP/1.1\r\nHost: h\r\nA: b c\r\nEmpty: \r\n\r\n":                              "",
		post + "Content-Length: 3\r\n\r\nabc":                                                 "abc",
		post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n":             "abc",
		post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n": "!",
		post + "Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":                     "!",
		post + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n":                  "!",
		post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                            "!",
		post + "Content-Length : 3\r\n\r\nabc":                                                "!",
		post + "Content-Length: +3\r\n\r\nabc":                                                "!",
		post + "A: b\r\n c\r\n\r\n":                                                           "!", post + "A: b\rc\r\n\r\n": "!", post + "A: b\x00c\r\n\r\n": "!", post + "A: b\n\r\n": "!",
		"GET / HTTP/1.0\r\nHost: h\r\n\r\n": "!", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n": "!", "GET / HTTP/1.1\r\n\r\n": "!",
	} {
		r, err := readStrict(bufio.NewReader(strings.NewReader(raw)))
		if (err != nil) != (body == "!") || err == nil && r.body != body {
			t.Errorf("%q: %q, %v", raw, r.body, err)
		}
	}
}
