package inspect

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"wsproxy/command/expose/tap"
)

// Bounds of the page's server.
const (
	maxReplayBody = 8 << 20 // of what the page sends
	headTimeout   = 10 * time.Second
	// eventInterval is the least time between two updates of a page.
	eventInterval = 150 * time.Millisecond
	// eventSilence is after how long an update says that there is nothing, so that
	// a page that has gone is noticed.
	eventSilence = 20 * time.Second
)

//go:embed page.html
var page []byte

// policy allows the page what is in it, and to ask this server.
var policy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src " +
	hashOf("script") + "; style-src " + hashOf("style")

// hashOf returns the source of a policy for the one element of that name in the page.
func hashOf(element string) string {
	_, rest, _ := strings.Cut(string(page), "<"+element+">")
	inside, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(inside))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A Server shows a store on a page, and as JSON.
type Server struct {
	store    *Store
	listener net.Listener
	host     string // the name that it was told to listen at, "" if that is an address
	port     string
	http     *http.Server

	ctx     context.Context // ends with the server
	cancel  context.CancelFunc
	running sync.WaitGroup // replays
	replays chan struct{}  // has room for as many as may be under way

	mu   sync.Mutex
	taps map[string]*tap.Tap // by the names of their tunnels
}

// Listen starts a server at an address, such as 127.0.0.1:4040; a port alone is one of
// 127.0.0.1. warning is a sentence
// for the user if others than this machine's programs can reach it, else "".
func Listen(address string, store *Store) (s *Server, warning string, err error) {
	if _, err := strconv.ParseUint(address, 10, 16); err == nil {
		address = ":" + address
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", fmt.Errorf("%w, not %q", ErrAddress, address)
	}
	if host == "" { // Go takes it for every address
		host, address = "127.0.0.1", "127.0.0.1"+address
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("the page of requests can't be served: %w", err)
	}
	s = &Server{store: store, listener: l, taps: make(map[string]*tap.Tap), replays: make(chan struct{}, maxReplays)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if _, err := netip.ParseAddr(host); err != nil {
		s.host = host
	}
	bound := l.Addr().(*net.TCPAddr)
	s.port = strconv.Itoa(bound.Port)
	if !bound.IP.IsLoopback() {
		warning = "the page of requests at " + address + " can be reached from other machines: whoever opens it sees cookies, tokens and bodies of all requests, and can send requests to your services. Use 127.0.0.1 unless you want that"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /api/requests", s.serveList)
	mux.HandleFunc("GET /api/requests/{id}", s.serveOne)
	mux.HandleFunc("GET /api/events", s.serveEvents)
	mux.HandleFunc("POST /api/replay", s.serveReplay)
	mux.HandleFunc("POST /api/clear", s.serveClear)
	s.http = &http.Server{
		Handler: s.guard(mux), ReadHeaderTimeout: headTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return s.ctx },
	}
	go func() { _ = s.http.Serve(l) }()
	return s, warning, nil
}

// Add names the tap that replays of a tunnel's requests go through.
func (s *Server) Add(tunnel string, t *tap.Tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps[tunnel] = t
}

// ErrAddress is of an address that can't be one.
var ErrAddress = errors.New("--inspect is an address with a port, such as 127.0.0.1:4040, or a port")

// URL is where the page is.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close ends the server, and replays that are under way.
func (s *Server) Close() {
	s.cancel()
	_ = s.http.Close()
	s.running.Wait()
}

// guard refuses what another page in the user's browser could have sent. A page whose
// name was made to lead here (DNS rebinding) says its own name as Host.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.isOwnHost(r.Host) {
			fail(w, &problem{http.StatusMisdirectedRequest, "the page of requests answers to its address alone: open " + s.URL()})
			return
		}
		if !sameOrigin(r) {
			fail(w, &problem{http.StatusForbidden, "this was asked by a page of another origin"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOwnHost reports whether a Host field names this server: by localhost, by an
// address, or by the name that the user has given.
func (s *Server) isOwnHost(hostport string) bool {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.Trim(hostport, "[]"), "80"
	}
	if port != s.port {
		return false
	}
	if strings.EqualFold(host, "localhost") || s.host != "" && strings.EqualFold(host, s.host) {
		return true
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// sameOrigin reports whether a request is one of the page, of a program, or of a user
// who opens the page.
func sameOrigin(r *http.Request) bool {
	opens := r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return opens
	}
	origin := r.Header.Get("Origin")
	return origin == "" || strings.EqualFold(origin, "http://"+r.Host)
}

// fail answers with a sentence as JSON.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var p *problem
	if errors.As(err, &p) {
		status = p.status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

func (s *Server) serveList(w http.ResponseWriter, _ *http.Request) {
	list, _ := s.list(0)
	answer(w, map[string]any{"requests": list})
}

// list returns what has changed, the oldest first.
func (s *Server) list(since uint64) ([]summary, uint64) {
	changed, now := s.store.Since(since)
	list := make([]summary, len(changed))
	for i := range changed {
		list[i] = summarize(&changed[i])
	}
	return list, now
}

func (s *Server) serveOne(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
	x, ok := s.store.Get(id)
	if !ok {
		fail(w, &problem{http.StatusNotFound, "there is no such request, any more"})
		return
	}
	answer(w, describe(&x))
}

// serveEvents sends what changes, as it does: server-sent events of lists of
// requests. The first has all.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	changed, stop := s.store.watch()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	silent := time.NewTimer(eventSilence)
	defer silent.Stop()
	for since := uint64(0); ; {
		list, now := s.list(since)
		since = now
		b, err := json.Marshal(list)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return
		}
		if flusher.Flush() != nil {
			return
		}
		// Not for each of many requests at once.
		select {
		case <-time.After(eventInterval):
		case <-r.Context().Done():
			return
		}
		silent.Reset(eventSilence)
		select {
		case <-changed:
		case <-silent.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) serveReplay(w http.ResponseWriter, r *http.Request) {
	// A form of another page can't send this type without being asked first.
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		fail(w, &problem{http.StatusUnsupportedMediaType, "a replay is asked for with Content-Type: application/json"})
		return
	}
	var asked replayRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReplayBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		fail(w, bad("this is no replay that can be read: %v", err))
		return
	}
	x, ok := s.store.Get(asked.ID)
	if !ok {
		fail(w, &problem{http.StatusNotFound, "there is no such request, any more"})
		return
	}
	s.mu.Lock()
	t := s.taps[x.Tunnel]
	s.mu.Unlock()
	message, method, err := asked.build(&x)
	if err == nil && t == nil {
		err = &problem{http.StatusGone, "its tunnel is not there any more"}
	}
	var id uint64
	if err == nil {
		id, err = s.replay(r.Context(), t, message, method)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]uint64{"id": id})
}

func (s *Server) serveClear(w http.ResponseWriter, _ *http.Request) {
	s.store.Clear()
	answer(w, map[string]bool{"ok": true})
}
