package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// RequestTimeout is how long an HTTP request may take, end to end.
const RequestTimeout = 10 * time.Second

// answerBody is the body of all answers of a size.
func answerBody(size int64) []byte {
	body := make([]byte, 0, size)
	for s := NewStream(echoID, lanePing); int64(len(body)) < size; {
		body = append(body, s.Next(int(size)-len(body))...)
	}
	return body
}

func appendResponse(b, body []byte) []byte {
	b = fmt.Appendf(b, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", len(body))
	return append(b, body...)
}

// A Requester sends requests over one keep-alive connection, which it opens when it
// needs one. It belongs to one goroutine.
type Requester struct {
	run     *Run
	i       int
	request string
	want    []byte // the body of each answer
	conn    net.Conn
	in      *bufio.Reader
	body    []byte
}

// NewRequester returns the i-th of the run. It asks the server for a host, whose answers
// have a body of a size.
func (r *Run) NewRequester(i int, host string, size int64) *Requester {
	request := "GET /bench HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	return &Requester{run: r, i: i, request: request, want: answerBody(size), body: make([]byte, size+1)}
}

// ErrContents is that of an answer whose body is wrong.
var ErrContents = errors.New("an HTTP answer has another body than was sent")

// Do makes one request, and returns the status of the answer.
func (c *Requester) Do() (status int, err error) {
	if c.conn == nil {
		if c.conn, err = c.run.Dial(c.i, c.run.Server); err != nil {
			return 0, err
		}
		c.in = bufio.NewReaderSize(c.conn, 16<<10)
	}
	keep := false
	defer func() {
		if !keep {
			c.Close()
		}
	}()
	_ = c.conn.SetDeadline(time.Now().Add(RequestTimeout))
	if _, err := io.WriteString(c.conn, c.request); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	n, err := io.ReadFull(answer.Body, c.body)
	switch {
	case err == nil || answer.StatusCode != http.StatusOK:
		// More than the buffer holds, or an error's text: read it all.
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return 0, err
		}
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return 0, err
	}
	if answer.StatusCode == http.StatusOK && !bytes.Equal(c.body[:n], c.want) {
		return 0, ErrContents
	}
	keep = !answer.Close
	return answer.StatusCode, nil
}

// Close closes the connection.
func (c *Requester) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// NewService begins to serve HTTP, the cheapest way: answers to GET with a body of a
// size. It returns its address. The end of the run ends it.
func (r *Run) NewService(size int64) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(r.ctx, func() { l.Close() })
	response := appendResponse(nil, answerBody(size))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveHTTP(r.closeAtEnd(conn), response)
		}
	}()
	return l.Addr().String(), nil
}

func serveHTTP(conn net.Conn, response []byte) {
	defer conn.Close()
	buf := make([]byte, 16<<10)
	for n := 0; n < len(buf); {
		got, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		if n += got; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := conn.Write(response); err != nil {
				return
			}
		}
	}
}
