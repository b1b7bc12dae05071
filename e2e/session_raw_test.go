package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// First bytes of frames (RFC 6455, section 5.2).
const (
	finBit = 0x80
	rsv1   = 0x40
	rsv2   = 0x20
	rsv3   = 0x10

	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// mask is the masking key of all frames that the tests send.
var (
	mask  = [4]byte{0x5a, 0xc3, 0x0f, 0x91}
	masks = bytes.Repeat(mask[:], 16<<10)
)

// frame returns a masked frame with the first byte given.
func frame(first byte, payload []byte) []byte {
	f := append(frameHeader(first, uint64(len(payload))), payload...)
	body := f[len(f)-len(payload):]
	for len(body) > 0 {
		n := subtle.XORBytes(body, body, masks)
		body = body[n:]
	}
	return f
}

// frameHeader returns the header of a masked frame, with the length in the
// shortest form.
func frameHeader(first byte, n uint64) []byte {
	h := []byte{first}
	switch {
	case n < 126:
		h = append(h, 0x80|byte(n))
	case n < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, 0x80|126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 0x80|127), n)
	}
	return append(h, mask[:]...)
}

// closePayload is the payload of a close frame.
func closePayload(code int, text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)
}

// A rawClient is a WebSocket client that does exactly what the test says: it
// answers nothing by itself, and may send frames that are not allowed.
type rawClient struct {
	*net.TCPConn
	in       *bufio.Reader
	response *http.Response
}

// openRaw makes a WebSocket handshake with the additional header. The
// connection has a deadline of patience.
func openRaw(wsURL string, header http.Header) (*rawClient, error) {
	u, err := url.Parse(wsURL)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &rawClient{TCPConn: conn.(*net.TCPConn), in: bufio.NewReaderSize(conn, 4096)}
	_ = c.SetDeadline(time.Now().Add(patience))

	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, values := range header {
		for _, value := range values {
			request += name + ": " + value + "\r\n"
		}
	}
	if _, err = io.WriteString(c, request+"\r\n"); err == nil {
		c.response, err = http.ReadResponse(c.in, nil)
	}
	if err == nil && c.response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(c.response.Body)
		err = fmt.Errorf("the handshake was answered %d %q", c.response.StatusCode, body)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// dialRaw is openRaw for a connection that is closed with the test.
func dialRaw(t *testing.T, wsURL string, header http.Header) *rawClient {
	t.Helper()
	c, err := openRaw(wsURL, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send writes frames, and fails the test if it can't.
func (c *rawClient) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := c.Write(f); err != nil {
			t.Fatalf("writing a frame: %v", err)
		}
	}
}

// read returns the next frame's first byte and payload.
func (c *rawClient) read() (first byte, payload []byte, err error) {
	var h [10]byte
	if _, err := io.ReadFull(c.in, h[:2]); err != nil {
		return 0, nil, err
	}
	if h[1]&0x80 != 0 {
		return 0, nil, errors.New("the server sent a masked frame")
	}
	n := uint64(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(c.in, h[2:4])
		n = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(c.in, h[2:10])
		n = binary.BigEndian.Uint64(h[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	if n > 64<<10 {
		return 0, nil, fmt.Errorf("the server sent a frame of %d bytes", n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.in, payload)
	return h[0], payload, err
}

// An ending is what a client saw up to the end of its WebSocket.
type ending struct {
	code  int // of the close frame
	text  string
	bytes int64 // payload of binary messages
	sum   [sha256.Size]byte
	pings int
	pongs []string
}

// toClose reads up to the close frame, and then up to the end of the stream,
// which has to follow. It answers nothing.
func (c *rawClient) toClose() (e ending, err error) {
	sum := sha256.New()
	for {
		first, payload, err := c.read()
		if err != nil {
			return e, fmt.Errorf("after %d bytes, before any close frame: %w", e.bytes, err)
		}
		switch first {
		case finBit | opBinary:
			e.bytes += int64(len(payload))
			sum.Write(payload)
		case finBit | opPing:
			e.pings++
		case finBit | opPong:
			e.pongs = append(e.pongs, string(payload))
		case finBit | opClose:
			if len(payload) < 2 {
				return e, errors.New("a close frame without a code")
			}
			e.code, e.text = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			sum.Sum(e.sum[:0])
			if n, err := io.Copy(io.Discard, c.in); n > 0 || err != nil {
				return e, fmt.Errorf("after the close frame: %d bytes, error %v", n, err)
			}
			return e, nil
		default:
			return e, fmt.Errorf("a frame that begins with %#x", first)
		}
	}
}

// expectClose reads to the end and fails the test if it isn't a close with
// this code, and this text unless that is "".
func (c *rawClient) expectClose(t *testing.T, code int, text string) ending {
	t.Helper()
	e, err := c.toClose()
	if err != nil {
		t.Fatalf("want close %d, got: %v", code, err)
	}
	if e.code != code || text != "" && e.text != text {
		t.Fatalf("closed with %d %q, want %d %q", e.code, e.text, code, text)
	}
	return e
}

// vanish breaks the connection off with a reset.
func (c *rawClient) vanish() {
	_ = c.SetLinger(0)
	c.Close()
}

// A data is a stream of bytes that look random and are the same each time.
type data struct {
	*rand.ChaCha8
	size int64
}

func newData(size int64) data { return data{rand.NewChaCha8([32]byte{'w', 's'}), size} }

// reader returns the whole stream from its beginning.
func (d data) reader() io.Reader { return io.LimitReader(newData(d.size).ChaCha8, d.size) }

func (d data) sum() [sha256.Size]byte {
	h := sha256.New()
	_, _ = io.Copy(h, d.reader())
	return [sha256.Size]byte(h.Sum(nil))
}

// A tally counts and hashes what is written to it.
type tally struct {
	hash.Hash
	n int64
}

func newTally() *tally { return &tally{Hash: sha256.New()} }

func (c *tally) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

// expect fails the test if other bytes came than these.
func (c *tally) expect(t *testing.T, want data) {
	t.Helper()
	if c.n != want.size {
		t.Errorf("%d bytes arrived of %d", c.n, want.size)
	} else if [sha256.Size]byte(c.Sum(nil)) != want.sum() {
		t.Errorf("%d bytes arrived, but not those that were sent", c.n)
	}
}

// frames writes what it is given as masked frames of binary messages.
type frames struct{ *rawClient }

func (f frames) Write(p []byte) (int, error) {
	_, err := f.rawClient.Write(frame(finBit|opBinary, p))
	return len(p), err
}

// copyBy is io.Copy with a buffer of this size, whatever the two can do.
func copyBy(size int, dst io.Writer, src io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, size))
}

// receive reads messages into dst until the WebSocket ends, and returns the
// close that ended it.
func receive(ws *websocket.Conn, dst io.Writer) (*websocket.CloseError, error) {
	for {
		_, r, err := ws.NextReader()
		if err == nil {
			_, err = io.Copy(dst, r)
		}
		if closed, ok := err.(*websocket.CloseError); ok {
			if closed.Code == websocket.CloseAbnormalClosure {
				return nil, errors.New("the connection ended without a close frame")
			}
			return closed, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// expectClosed reads to the end and fails the test if that isn't a close with
// this code, and this text unless that is "".
func expectClosed(t *testing.T, ws *websocket.Conn, code int, text string) *tally {
	t.Helper()
	got := newTally()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	closed, err := receive(ws, got)
	if err != nil {
		t.Fatalf("want close %d, got after %d bytes: %v", code, got.n, err)
	}
	if closed.Code != code || text != "" && closed.Text != text {
		t.Fatalf("closed with %d %q, want %d %q", closed.Code, closed.Text, code, text)
	}
	return got
}

// dial opens a relay to the target.
func dial(t *testing.T, s *server, target net.Addr) *websocket.Conn {
	t.Helper()
	ws, response, err := dialWS(t, relayURL(s, target), nil)
	if err != nil {
		t.Fatalf("no relay: %v (%v)", err, response)
	}
	return ws
}

// accept returns the next connection that a handServer got, with a deadline.
func accept(t *testing.T, conns <-chan *net.TCPConn) *net.TCPConn {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case conn := <-conns:
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn
	case <-timer.C:
		t.Fatal("no connection reached the target")
		return nil
	}
}
