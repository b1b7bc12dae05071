package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/config"
	"wsproxy/messages/inspect"
)

// What a request comes to, as metrics have it.
const (
	outcomeOK           = "ok"
	outcomeUnauthorized = "unauthorized" // no token, or another one
	outcomeRefused      = "refused"      // nothing by that name, another method, or too many at once
	outcomeFailed       = "failed"       // the owners of sessions did not answer
)

// Outcomes lists all outcomes of which Options.Count is told.
func Outcomes() []string {
	return []string{outcomeOK, outcomeUnauthorized, outcomeRefused, outcomeFailed}
}

// Options is what the endpoints need. All fields but Tunnels are required.
type Options struct {
	// Token is what a request must have behind Authorization: Bearer.
	Token string
	Root  *actor.RootContext
	// Relays and Tunnels own the sessions; Tunnels is nil if there are none.
	Relays, Tunnels *actor.PID
	Version         string
	Draining        func() bool
	Settings        func() []config.Setting // what holds, fit to be shown
	Count           func(outcome string)
	Log             *slog.Logger
}

const (
	// maxHeader bounds what a request's header may have, in bytes.
	maxHeader = 16 << 10
	// bodyTime bounds how long is waited for a body that nobody reads.
	bodyTime = 10 * time.Second
	// answerTime bounds an answer; of a profile what comes when it was made.
	answerTime = 2 * time.Minute
	// profileTime bounds how long a profile may be made.
	profileTime = 2 * time.Minute
	// idleTime bounds how long a connection waits for its next request.
	idleTime = 2 * time.Minute
	// atOnce bounds the answers about sessions that are being made.
	atOnce = 4
)

// A handler answers what is below /debug/.
type handler struct {
	o    Options
	want [sha256.Size]byte // of the token
	busy chan struct{}     // has an element for each answer about sessions that is being made
}

// Mount puts the endpoints below /debug/ of a server, before what it serves already, and
// bounds what its requests may take.
func Mount(server *http.Server, o Options) {
	mux := http.NewServeMux()
	mux.Handle("/debug/", New(o))
	mux.Handle("/", server.Handler)
	server.Handler = mux
	server.MaxHeaderBytes, server.WriteTimeout, server.IdleTimeout = maxHeader, answerTime, idleTime
}

// New returns what answers below /debug/.
func New(o Options) http.Handler {
	h := &handler{o: o, want: sha256.Sum256([]byte(o.Token)), busy: make(chan struct{}, atOnce)}
	mux := http.NewServeMux()
	mux.Handle("/debug/sessions", h.only(http.MethodGet, h.sessions))
	mux.Handle("/debug/tunnels", h.only(http.MethodGet, h.tunnels))
	mux.Handle("/debug/config", h.only(http.MethodGet, h.config))
	mux.Handle("/debug/sessions/{id}/close", h.only(http.MethodPost, h.closeSession))
	mux.Handle("/debug/tunnels/{id}/close", h.only(http.MethodPost, h.closeTunnel))
	for path, profile := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		mux.Handle("/debug/pprof/"+path, h.only(http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
			if tooLong(r) {
				h.refuse(w, http.StatusBadRequest, "seconds must be a number of at most "+strconv.Itoa(int(profileTime.Seconds()))+".")
				return
			}
			h.o.Count(outcomeOK)
			profile(w, r)
		}))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		h.refuse(w, http.StatusNotFound, "There is nothing by this name; docs/operations.md lists what there is.")
	})
	return h.guard(mux)
}

// tooLong reports whether a profile is asked for that takes longer than profileTime. What is no
// number pprof takes for its default.
func tooLong(r *http.Request) bool {
	seconds, err := strconv.ParseFloat(r.FormValue("seconds"), 64)
	return err == nil && !(seconds <= profileTime.Seconds()) || errors.Is(err, strconv.ErrRange)
}

// guard lets nobody in without the token.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 { // nobody reads it, but net/http, for as long as it takes
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		if !h.knows(r) {
			h.o.Log.Warn("admin request refused", "endpoint", "admin", "reason", outcomeUnauthorized, "source", source(r))
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close")
			h.answer(w, http.StatusUnauthorized, outcomeUnauthorized,
				inspect.Error{Error: "The token is missing or is not that of ADMIN_TOKEN: send it as Authorization: Bearer TOKEN."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows reports whether a request has the token, in a time that does not tell how much of it
// was right.
func (h *handler) knows(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(got[:], h.want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// source is who asks, without the port.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (h *handler) only(method string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			h.refuse(w, http.StatusMethodNotAllowed, "This is for "+method+" alone.")
			return
		}
		next(w, r)
	})
}

// A shown setting is one as /debug/config has it.
type shown struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Set   bool   `json:"set"`
}

func (h *handler) config(w http.ResponseWriter, _ *http.Request) {
	settings := []shown{}
	for _, s := range h.o.Settings() {
		settings = append(settings, shown(s))
	}
	h.answer(w, http.StatusOK, outcomeOK, struct {
		Version  string  `json:"version"`
		Settings []shown `json:"settings"`
	}{h.o.Version, settings})
}

func (h *handler) refuse(w http.ResponseWriter, status int, sentence string) {
	h.answer(w, status, outcomeRefused, inspect.Error{Error: sentence})
}

// answer writes JSON, a line of it.
func (h *handler) answer(w http.ResponseWriter, status int, outcome string, v any) {
	h.o.Count(outcome)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // fails only if the client is gone
}
