package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wsproxy/internal/testkit/stricthttp"
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

// readStrict reads one request. Its error is io.EOF if there is none.
func readStrict(in *bufio.Reader) (strictRequest, error) {
	r, err := stricthttp.Read(in)
	return strictRequest{line: r.Line, fields: r.Fields, body: r.Body, trailers: r.Trailers}, err
}

// values returns the values of a field, in order.
func (r *strictRequest) values(name string) []string {
	return (&stricthttp.Request{Fields: r.fields}).Values(name)
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
