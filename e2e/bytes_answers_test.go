package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// fileService serves a file with validators and ranges at /file, packed ones at
// /gzip and /br, and gRPC-web at /grpc.
func fileService(file, packed []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/x-file")
		http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(file))
	})
	for _, coding := range []string{"gzip", "br"} {
		mux.HandleFunc("/"+coding, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", coding)
			w.Header().Set("Vary", "Accept-Encoding")
			w.Header().Set("X-Asked", strings.Join(r.Header["Accept-Encoding"], "|"))
			_, _ = w.Write(packed)
		})
	}
	mux.HandleFunc("/grpc", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("X-Grpc-Web", r.Header.Get("X-Grpc-Web"))
		_, _ = w.Write(body)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "\x80\x00\x00\x00\x0fgrpc-status:0\r\n")
	})
	return mux
}

func TestBytesFiles(t *testing.T) {
	t.Parallel()
	file := make([]byte, 1<<20)
	_, _ = tunnelNoise(5).Read(file)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(bytes.Repeat([]byte("text "), 50_000))
	zip.Close()
	r := newBytesRig(t, fileService(file, packed.Bytes()))
	modified := time.Unix(1e9, 0).UTC().Format(http.TimeFormat)
	for name, c := range map[string]struct {
		method, path string
		lines        []string
		status       int
		body         string
		length       int64
		header       string // a line that the answer has
	}{
		"whole":             {"GET", "/file", nil, 200, string(file), 1 << 20, "Accept-Ranges: bytes"},
		"part":              {"GET", "/file", []string{"Range: bytes=1000-1999"}, 206, string(file[1000:2000]), 1000, "Content-Range: bytes 1000-1999/1048576"},
		"the rest":          {"GET", "/file", []string{"Range: bytes=1048570-"}, 206, string(file[1<<20-6:]), 6, "Content-Range: bytes 1048570-1048575/1048576"},
		"part of the same":  {"GET", "/file", []string{"Range: bytes=0-0", `If-Range: "v1"`}, 206, string(file[:1]), 1, `Etag: "v1"`},
		"beyond the end":    {"GET", "/file", []string{"Range: bytes=2000000-"}, 416, "invalid range: failed to overlap\n", 33, "Content-Range: bytes */1048576"},
		"head":              {"HEAD", "/file", nil, 200, "", 1 << 20, "Content-Type: application/x-file"},
		"head of a part":    {"HEAD", "/file", []string{"Range: bytes=5-9"}, 206, "", 5, "Content-Range: bytes 5-9/1048576"},
		"the same by tag":   {"GET", "/file", []string{`If-None-Match: "v1"`}, 304, "", -1, `Etag: "v1"`},
		"the same by date":  {"GET", "/file", []string{"If-Modified-Since: " + modified}, 304, "", -1, `Etag: "v1"`},
		"another by tag":    {"GET", "/file", []string{`If-Match: "v2"`}, 412, "", 0, `Etag: "v1"`},
		"packed by gzip":    {"GET", "/gzip", []string{"Accept-Encoding: gzip, br;q=0.9"}, 200, packed.String(), int64(packed.Len()), "X-Asked: gzip, br;q=0.9"},
		"packed by brotli":  {"GET", "/br", []string{"Accept-Encoding: br"}, 200, packed.String(), int64(packed.Len()), "Content-Encoding: br"},
		"packed, not asked": {"GET", "/gzip", nil, 200, packed.String(), int64(packed.Len()), "Content-Encoding: gzip"},
		"nothing there":     {"GET", "/none", nil, 404, "404 page not found\n", 19, "X-Content-Type-Options: nosniff"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := r.ask(t, c.method, c.path, nil, c.lines...)
			if reply.status != c.status || reply.body != c.body || c.length >= 0 && reply.length != c.length {
				t.Errorf("%d, %d bytes, length %d, the same: %t", reply.status, len(reply.body), reply.length, reply.body == c.body)
			}
			field, value, _ := strings.Cut(c.header, ": ")
			if got := reply.header[http.CanonicalHeaderKey(field)]; len(got) != 1 || got[0] != value {
				t.Errorf("%s is %q", field, got)
			}
		})
	}
}

// gRPC-web: binary messages both ways, and trailers that are part of the body.
func TestBytesGRPCWeb(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, fileService(nil, nil))
	message := "\x00\x00\x00\x00\x06\xff\xfe\x00\r\n\x80"
	reply := r.ask(t, "POST", "/grpc", strings.NewReader(message), "Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1", "TE: trailers")
	if reply.status != 200 || reply.body != message+"\x80\x00\x00\x00\x0fgrpc-status:0\r\n" ||
		reply.header.Get("Content-Type") != "application/grpc-web+proto" || reply.header.Get("X-Grpc-Web") != "1" {
		t.Errorf("%d %q %v", reply.status, reply.body, reply.header)
	}
}

// A client of HTTP/1.0 gets answers that it understands: with a length, or until
// the connection ends, by FIN when whole.
func TestBytesHTTP10(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/chunked" {
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Proto, r.Method, body)
	}))
	for name, c := range map[string]struct {
		request, body string
		length        int64 // or that of the body: what is known when the head goes out may be said
	}{
		"a length":           {"GET /sized HTTP/1.0\r\nHost: HOST\r\n\r\n", "HTTP/1.1 GET ", 13},
		"until the end":      {"GET /chunked HTTP/1.0\r\nHost: HOST\r\n\r\n", "HTTP/1.1 GET ", -1},
		"a body":             {"POST /chunked HTTP/1.0\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 POST body", -1},
		"keep-alive":         {"GET /sized HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 GET ", 13},
		"HTTP/1.1 that ends": {"GET /sized HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", "HTTP/1.1 GET ", 13},
	} {
		t.Run(name, func(t *testing.T) {
			wire := r.wire(t)
			_, _ = io.WriteString(wire, strings.ReplaceAll(c.request, "HOST", r.c.host))
			response, err := http.ReadResponse(wire.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != 200 || string(body) != c.body || !slices.Contains([]int64{c.length, int64(len(c.body))}, response.ContentLength) || err != nil || len(response.TransferEncoding) > 0 {
				t.Errorf("%d %q, length %d, %v, %v", response.StatusCode, body, response.ContentLength, response.TransferEncoding, err)
			}
			if name == "keep-alive" {
				return
			}
			if n, err := wire.in.ReadByte(); err != io.EOF {
				t.Errorf("after the answer come %d, %v", n, err)
			}
		})
	}
}

// Requests that come at once over one connection are answered in order.
func TestBytesPipelining(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}))
	wire := r.wire(t)
	var all string
	for i := range 3 {
		all += fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 6\r\n\r\nbody %d", i, r.c.host, i)
	}
	_, _ = io.WriteString(wire, all)
	for i := range 3 {
		if reply := wire.hear(t, "POST"); reply.status != 200 || reply.body != fmt.Sprintf("/%d body %d", i, i) {
			t.Errorf("answer %d is %d %q", i, reply.status, reply.body)
		}
	}
}

// A service that ends its connection behind each answer, by saying so or without,
// costs no request; nor does one that is closed while it is idle.
func TestBytesServicesThatClose(t *testing.T) {
	t.Parallel()
	for name, connection := range map[string]string{"says so": "Connection: close\r\n", "says nothing": "", "says it stays": "Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := rawService(t, func(conn *net.TCPConn, head string) {
				body := ""
				if strings.HasPrefix(head, "POST") {
					four := make([]byte, 4)
					_, _ = io.ReadFull(conn, four)
					body = string(four)
				}
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", connection, len(body), body)
			})
			r := newBytesRigTo(t, service, "")
			for i := range 50 {
				if reply := r.get(t, "/"); reply.status != 200 || reply.body != "" {
					t.Fatalf("GET %d is answered with %d %q", i, reply.status, reply.body)
				}
				if reply := r.ask(t, "POST", "/", strings.NewReader("body")); reply.status != 200 || reply.body != "body" {
					t.Fatalf("POST %d is answered with %d %q", i, reply.status, reply.body)
				}
			}
		})
	}
}

// Connections are used again: for GETs one is enough.
func TestBytesConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho())
	for range 20 {
		r.get(t, "/")
	}
	if n := r.c.opened(); n != 1 {
		t.Errorf("20 requests, one after another, took %d connections", n)
	}
	for range 5 { // each has one of its own, so that none is ever done twice
		r.ask(t, "POST", "/", strings.NewReader("x"))
	}
	if n := r.c.opened(); n != 6 {
		t.Errorf("with 5 that may be done once there were %d connections", n)
	}
	wire := r.wire(t)
	wire.say(t, "GET / HTTP/1.1", "Host: "+r.c.host, "Connection: close")
	if reply := wire.hear(t, "GET"); reply.status != 200 || r.c.opened() != 6 {
		t.Errorf("an outside that closes gets %d, and there were %d connections", reply.status, r.c.opened())
	}
}

// A connection is idle for a second less than the service's Keep-Alive says: then the
// proxy ends it with eof.
func TestBytesIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Keep-Alive", "timeout=2")
		_, _ = io.WriteString(w, "x")
	}))
	began := time.Now()
	if reply := r.get(t, "/"); reply.body != "x" || reply.header.Get("Keep-Alive") != "" {
		t.Fatalf("%+v", reply)
	}
	conn := r.c.all()[0]
	if reason, took := conn.reason(t), time.Since(began); reason != "eof" || took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("after %v: %q", took, reason)
	}
	if reply := r.get(t, "/"); reply.body != "x" || r.c.opened() != 2 {
		t.Errorf("then comes %+v over connection %d", reply, r.c.opened())
	}
}
