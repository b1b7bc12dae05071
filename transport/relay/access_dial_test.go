package relay

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/head"
	"wsproxy/transport/wsock"
)

// dialService dials a service that answers the handshake as it likes, by TLS. It
// hands over what is to be written behind "Sec-WebSocket-Accept: ", too.
func dialService(t *testing.T, answers func(conn net.Conn, accept string)) (*accessUpstream, error) {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	certified.Close()
	accessRoots = x509.NewCertPool()
	accessRoots.AddCert(certified.Certificate())
	t.Cleanup(func() { accessRoots = nil })
	near, far := testkit.TCPPair(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn := tls.Server(far, &tls.Config{Certificates: certified.TLS.Certificates})
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(request.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		answers(conn, base64.StdEncoding.EncodeToString(sum[:]))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	dial := func(context.Context) (*net.TCPConn, error) { return near, nil }
	u, err := dialAccess(ctx, dial, netpolicy.Target{Host: "example.com", Port: AccessPort}, Access{ID: "id", Secret: "secret"}, time.Hour)
	if err == nil {
		t.Cleanup(func() { u.Close() })
	} else {
		near.Close()
		testkit.Receive(t, served)
	}
	return u, err
}

func switching(accept, more string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n" + more + "\r\n"
}

// A service that answers the handshake with headers without end is given up
// long before they take memory.
func TestAccessHandshakeHasAnEnd(t *testing.T) {
	const endless = 64 << 20
	for name, line := range map[string]string{
		"tiny fields":        "a:\r\n",
		"long fields":        "a: " + strings.Repeat("b", 1000) + "\r\n",
		"a line without end": strings.Repeat("b", 1000),
	} {
		sent := 0
		piece := []byte(strings.Repeat(line, 4096/len(line)+1))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := dialService(t, func(conn net.Conn, accept string) {
			_, _ = io.WriteString(conn, strings.TrimSuffix(switching(accept, ""), "\r\n"))
			for sent < endless {
				n, err := conn.Write(piece)
				if sent += n; err != nil {
					return
				}
			}
			conn.Close()
		})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, head.ErrTooLarge) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; sent >= endless || allocated > 32<<20 {
			t.Errorf("%s: the service sent %d bytes, for which %d were allocated", name, sent, allocated)
		}
	}
}

func TestAccessTakesNothingUnoffered(t *testing.T) {
	for more, ok := range map[string]bool{
		"": true,
		"Sec-WebSocket-Extensions:\r\nSec-WebSocket-Protocol: \r\n":                                                true,
		"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n": false,
		"Sec-WebSocket-Extensions: x-other\r\n":                                                                    false,
		"Sec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: permessage-deflate\r\n":                            false,
		"Sec-WebSocket-Protocol: binary\r\n":                                                                       false,
		strings.Repeat("A: b\r\n", messages.MaxAnswerFields-3):                                                     true,
	} {
		_, err := dialService(t, func(conn net.Conn, accept string) {
			_, _ = io.WriteString(conn, switching(accept, more))
			_, _ = io.Copy(io.Discard, conn)
		})
		if ok != (err == nil) || !ok && strings.Contains(more, "x-other") && !errors.Is(err, errUnoffered) {
			t.Errorf("%.60q: %v", more, err)
		}
	}
}

// Nothing of what a service sends piles up: empty frames, pings and parts of one
// message without end are read as they come.
func TestAccessFramesTakeNoMemory(t *testing.T) {
	const frames = 100_000
	flood := strings.Repeat("\x89\x04ping", 10) + strings.Repeat("\x00\x00", 100) + "\x00\x04part"
	u, err := dialService(t, func(conn net.Conn, accept string) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = io.WriteString(conn, switching(accept, "")+"\x02\x04part")
		for range frames / 111 {
			if _, err := io.WriteString(conn, flood); err != nil {
				return
			}
		}
		_, _ = io.WriteString(conn, "\x80\x04last\x88\x02\x03\xe8")
	})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	total := 0
	for {
		buf, n, err := u.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += n
		wsock.GiveBuffer(buf)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if want := 4 * (2 + frames/111); total != want {
		t.Errorf("%d bytes came, not %d", total, want)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes are held", grown)
	}
}
