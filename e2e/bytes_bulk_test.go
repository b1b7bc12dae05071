package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bytesBulk is how long a body is that is to be long: 256 MiB, or 2 GiB with
// WSPROXY_E2E_BIG set, which takes minutes.
func bytesBulk() int64 {
	if os.Getenv("WSPROXY_E2E_BIG") != "" {
		return 2 << 30
	}
	return 256 << 20
}

// peak returns the most resident memory that the server ever had, in bytes.
func (s *server) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// noiseService sends so many bytes as the path says, and answers an upload with its
// length and hash.
func noiseService() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			sum, n, err := tunnelSum(r.Body)
			_, _ = fmt.Fprintf(w, "%d %x %v", n, sum, err)
			return
		}
		n, _ := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(tunnelNoise(11), n), make([]byte, 64<<10))
	})
}

// flat runs a transfer of size bytes and complains if the server's memory grows with it.
func (r *bytesRig) flat(t *testing.T, size int64, transfer func(size int64)) {
	t.Helper()
	transfer(16 << 20) // what a busy server needs anyway is no growth
	before, began := r.s.peak(t), time.Now()
	transfer(size)
	growth := r.s.peak(t) - before
	t.Logf("%d MiB in %v, the server has grown by %d MiB", size>>20, time.Since(began), growth>>20)
	if growth > 48<<20 {
		t.Errorf("the server has grown by %d MiB", growth>>20)
	}
}

// A chunked upload of any length arrives whole, and its bytes are nowhere long.
func TestBytesUpload(t *testing.T) {
	t.Parallel()
	r := newPlainBytesRig(t, noiseService())
	r.flat(t, bytesBulk(), func(size int64) {
		sent := sha256.New()
		body := io.TeeReader(io.LimitReader(tunnelNoise(11), size), sent)
		r.client.Timeout = 0
		reply := r.ask(t, "POST", "/", struct{ io.Reader }{body})
		if want := fmt.Sprintf("%d %x <nil>", size, sent.Sum(nil)); reply.body != want {
			t.Errorf("the service says %d %q, not %q", reply.status, reply.body, want)
		}
	})
}

// So does a chunked download.
func TestBytesDownload(t *testing.T) {
	t.Parallel()
	r := newPlainBytesRig(t, noiseService())
	r.flat(t, bytesBulk(), func(size int64) {
		r.client.Timeout = 0
		response := r.must(t, r.request("GET", fmt.Sprint("/", size), nil))
		want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(11), size))
		if sum, n, err := tunnelSum(response.Body); err != nil || sum != want || response.ContentLength != -1 {
			t.Errorf("of %d bytes come %d, the same: %t, %v", size, n, sum == want, err)
		}
	})
}

// An outside client that stops reading holds its own answer back, and nothing else:
// the service can't send on, and others are as quick as ever.
func TestBytesUnreadDownload(t *testing.T) {
	t.Parallel()
	sent := &counter{Writer: io.Discard}
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			_, _ = io.Copy(io.MultiWriter(w, sent), io.LimitReader(tunnelNoise(12), 1<<30))
			return
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	var unread []*tunnelWire
	for range 5 {
		wire := r.wire(t)
		_ = wire.SetReadBuffer(4 << 10)
		wire.say(t, "GET /big HTTP/1.1", "Host: "+r.c.host)
		unread = append(unread, wire)
	}
	if n := sent.stuck(t); n > 5*(32<<20) {
		t.Errorf("the service has sent %d MiB that nobody reads", n>>20)
	}
	probe := tunnelProbing(t, r.client, r.s, r.c.host)
	began := time.Now()
	const size = 32 << 20
	want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(12), size))
	response := r.must(t, r.request("GET", "/big", nil))
	if sum, n, err := tunnelSum(io.LimitReader(response.Body, size)); sum != want || err != nil {
		t.Errorf("another download of %d bytes: %v", n, err)
	}
	response.Body.Close()
	count, worst := probe.stop()
	t.Logf("%d MiB in %v beside it; the slowest of %d requests took %v", size>>20, time.Since(began), count, worst)
	if worst > 2*time.Second {
		t.Errorf("one of %d requests took %v", count, worst)
	}
	for _, wire := range unread {
		if line, err := wire.in.ReadString('\n'); !strings.Contains(line, "200") {
			t.Errorf("one that reads again gets %q, %v", line, err)
		}
	}
}
