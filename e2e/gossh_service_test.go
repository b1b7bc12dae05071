package e2e

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// A gosshWeb is an HTTP service that a double forwards to.
type gosshWeb struct {
	addr string
	next chan struct{} // lets /events go on by one

	mu    sync.Mutex
	seen  []gosshAsked // under mu
	conns int          // under mu: connections there are
}

// A gosshAsked is a request as a service saw it.
type gosshAsked struct {
	method, path string // with the query
	header       http.Header
	from         string
}

// gosshWebServer starts the service, which ends with the test.
func gosshWebServer(t *testing.T, configure ...func(*http.Server)) *gosshWeb {
	t.Helper()
	web := &gosshWeb{next: make(chan struct{}, 100)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.mu.Lock()
		web.seen = append(web.seen, gosshAsked{r.Method, r.RequestURI, r.Header.Clone(), r.RemoteAddr})
		web.mu.Unlock()
		web.serve(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		web.mu.Lock()
		defer web.mu.Unlock()
		switch state {
		case http.StateNew:
			web.conns++
		case http.StateClosed, http.StateHijacked:
			web.conns--
		}
	}
	for _, f := range configure {
		f(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	web.addr = server.Listener.Addr().String()
	return web
}

// asked returns what the service saw of a path, in which a query counts.
func (web *gosshWeb) asked(path string) (found []gosshAsked) {
	web.mu.Lock()
	defer web.mu.Unlock()
	for _, a := range web.seen {
		if a.path == path {
			found = append(found, a)
		}
	}
	return found
}

// open returns how many connections there are.
func (web *gosshWeb) open() int {
	web.mu.Lock()
	defer web.mu.Unlock()
	return web.conns
}

var gosshBodies sync.Map // texts by size, and other bodies by negative size

// gosshText is a text of n bytes, of which some are not ASCII.
func gosshText(n int) string {
	if text, ok := gosshBodies.Load(n); ok {
		return text.(string)
	}
	const line = "grüße, 100 € – \U0001F600 <a href=\"/\">&amp;</a>\\ 0123456789\n"
	text := strings.Repeat(line, n/len(line)+1)
	end := n
	for !utf8.RuneStart(text[end]) {
		end--
	}
	text = text[:end] + strings.Repeat(".", n-end)
	gosshBodies.Store(n, text)
	return text
}

// gosshBinary are n bytes that are not UTF-8.
func gosshBinary(n int) string {
	if body, ok := gosshBodies.Load(-n); ok {
		return body.(string)
	}
	b := make([]byte, n)
	_, _ = tunnelNoise(uint64(n)).Read(b)
	b[0] = 0xff
	gosshBodies.Store(-n, string(b))
	return string(b)
}

// gosshSum is what /sum answers to a request with a body.
func gosshSum(method, body string) string {
	return fmt.Sprintf("%s %d %x", method, len(body), sha256.Sum256([]byte(body)))
}

// gosshPieces writes a body in chunks, which end between two characters or
// within one.
func gosshPieces(w http.ResponseWriter, body string, within bool) {
	for len(body) > 0 {
		n := min(len(body), 100_000)
		for n < len(body) && utf8.RuneStart(body[n]) == within {
			n--
		}
		_, _ = w.Write([]byte(body[:n])) // io.WriteString would cut it
		_ = http.NewResponseController(w).Flush()
		body = body[n:]
	}
}

func (web *gosshWeb) serve(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	announce := func(kind string) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Etag", `"same"`)
		if r.Header.Get("If-None-Match") == `"same"` {
			w.WriteHeader(http.StatusNotModified)
			n = 0
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	switch r.URL.Path {
	case "/text":
		announce("text/plain; charset=utf-8")
		_, _ = io.WriteString(w, gosshText(n))
	case "/binary":
		announce("application/octet-stream")
		if n > 0 {
			_, _ = io.WriteString(w, gosshBinary(n))
		}
	case "/z":
		announce("text/plain")
		_, _ = io.WriteString(w, strings.Repeat("z", n))
	case "/latin1":
		body := strings.Repeat("gr\xfc\xdfe ", n/6)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body)
	case "/chunks":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		gosshPieces(w, gosshText(n), r.URL.Query().Has("within"))
	case "/binarychunks":
		w.Header().Set("Content-Type", "application/octet-stream")
		gosshPieces(w, gosshBinary(n), false)
	case "/gzip":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = io.WriteString(w, gosshText(n))
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, gosshText(n))
		z.Close()
	case "/sum":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, gosshSum(r.Method, string(body)))
	case "/events":
		web.events(w, r, n)
	case "/headers":
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		w.Header().Set("X-Passed", "yes")
		w.Header().Set("Keep-Alive", "timeout=99")
		headers, _ := json.Marshal(r.Header)
		_, _ = w.Write(headers)
	case "/eof", "/short":
		gosshHijacked(w, r.URL.Path == "/short", gosshText(n))
	case "/websocket":
		web.websocket(w, r)
	case "/never":
		<-r.Context().Done()
	default:
		http.NotFound(w, r)
	}
}

// events streams n events, each after a word from the test.
func (web *gosshWeb) events(w http.ResponseWriter, r *http.Request, n int) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range n {
		select {
		case <-web.next:
		case <-r.Context().Done():
			return
		}
		fmt.Fprintf(w, "data: %d\n\n", i)
		_ = http.NewResponseController(w).Flush()
	}
}

// websocket sends back each message.
func (web *gosshWeb) websocket(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{
		CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"echo"},
		ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// gosshHijacked answers as an old server does, that says the end of an answer
// by ending the connection, or as one that fails on its way.
func gosshHijacked(w http.ResponseWriter, short bool, body string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	length := ""
	if short {
		length = fmt.Sprintf("Content-Length: %d\r\n", 2*len(body))
	}
	fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n%s\r\n%s", length, body)
}
