package page

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// settingsPath is where the page asks what it must know of its server.
const settingsPath = "/web-terminal.json"

// missing is what a binary without the page says in its place.
const missing = `This build of wsproxy has no web terminal: it was built without its page.

"make build" puts it in where node and npm are installed, and so do "make image"
and the released binaries. Everything else of this server works as it is.
`

// Options is what the page must know of its server. It is told to whoever asks
// for the page: nothing in it may be a secret.
type Options struct {
	// Auth says that the server asks for a token.
	Auth bool `json:"auth"`
	// Version is how this build calls itself.
	Version string `json:"version"`
	// Ancestors are the origins whose pages may have this page in a frame, and
	// give it a token by postMessage. Each is as browsers write it.
	Ancestors []string `json:"ancestors"`
	// Tunnels says that the server has tunnels, so that ports can be shared.
	Tunnels bool `json:"tunnels"`
	// TunnelNames says that names of tunnels stay the same.
	TunnelNames bool `json:"tunnelNames"`
}

// A Handler answers for the page. Its methods are called by many goroutines.
type Handler struct {
	dist     fs.FS
	files    map[string]*file // by path; nil without a page
	settings []byte           // JSON
	policy   policy
}

// New returns the handler of the page that is in this binary. An error means
// that the binary was built of a page that is not whole.
func New(o Options) (*Handler, error) {
	dist, exists := built()
	if !exists {
		return withoutPage(o), nil
	}
	return newHandler(dist, o)
}

// Exists reports whether this binary has the page.
func Exists() bool {
	_, exists := built()
	return exists
}

func withoutPage(o Options) *Handler { return &Handler{policy: newPolicy(o.Ancestors)} }

func newHandler(dist fs.FS, o Options) (*Handler, error) {
	files, err := readFiles(dist)
	if err != nil {
		return nil, err
	}
	if o.Ancestors == nil {
		o.Ancestors = []string{} // the page wants a list
	}
	settings, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("what the page must know can't be written: %w", err)
	}
	return &Handler{dist: dist, files: files, settings: append(settings, '\n'), policy: newPolicy(o.Ancestors)}, nil
}

// Has reports whether a path is one of the page's.
func (h *Handler) Has(path string) bool {
	if h.files == nil {
		return path == "/"
	}
	return path == settingsPath || h.files[path] != nil
}

// ServeHTTP answers a request for a path that the handler has. Bodies of
// requests are not read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	h.policy.write(header, r.Host)
	switch {
	case r.Method == http.MethodOptions:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		say(w, r, http.StatusMethodNotAllowed, "text/plain; charset=utf-8", "Only GET is answered here.\n")
	case h.files == nil:
		say(w, r, http.StatusNotFound, "text/plain; charset=utf-8", missing)
	case r.URL.Path == settingsPath:
		say(w, r, http.StatusOK, "application/json", string(h.settings))
	case h.files[r.URL.Path] == nil:
		say(w, r, http.StatusNotFound, "text/plain; charset=utf-8", "The page has no such file.\n")
	default:
		h.serveFile(w, r, h.files[r.URL.Path])
	}
}

// say answers with what nobody keeps.
func say(w http.ResponseWriter, r *http.Request, status int, mediaType, text string) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text)
	}
}

func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, f *file) {
	as := f.choose(r.Header)
	header := w.Header()
	header.Set("ETag", f.tag(as))
	if len(f.forms) > 1 {
		header.Set("Vary", "Accept-Encoding")
	}
	// A name that changes with its content is never asked for again; the rest is,
	// each time, and mostly answered by 304.
	header.Set("Cache-Control", "no-cache")
	if f.Immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if isKnown(r.Header, f.tag(as)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", f.Type)
	header.Set("Content-Length", strconv.FormatInt(as.size, 10))
	if as.coding != "" {
		header.Set("Content-Encoding", as.coding)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	content, err := as.open(h.dist)
	if err != nil { // it was there when the server started
		header.Del("ETag")
		header.Del("Content-Encoding")
		say(w, r, http.StatusInternalServerError, "text/plain; charset=utf-8", "The server can't read its own page.\n")
		return
	}
	defer content.Close()
	send(w, content)
}

// How slowly a client may take the page. One on a poor network takes long for all
// of it, so there is no time for the whole; but one that takes next to nothing
// holds a connection that others want.
const (
	pieceSize = 32 << 10
	// slack is how long a client may take nothing, over the whole answer.
	slack = 30 * time.Second
	// slowest is what it takes beside that, in bytes a second: the page in a minute
	// or two.
	slowest = 16 << 10
)

// send writes a body. When it can't go on the answer stays shorter than it says,
// and net/http closes the connection.
func send(w http.ResponseWriter, content io.Reader) {
	control, begun := http.NewResponseController(w), time.Now()
	piece := make([]byte, pieceSize)
	for sent := 0; ; {
		n, err := io.ReadFull(content, piece)
		sent += n
		_ = control.SetWriteDeadline(begun.Add(slack + time.Duration(sent)*time.Second/slowest))
		if _, failed := w.Write(piece[:n]); failed != nil || err != nil {
			return
		}
	}
}

// A policy is the header that keeps the page from what it doesn't need.
type policy struct {
	before, after string
	// alone keeps windows of other origins that open the page, or are opened by it,
	// from knowing it. Applications that may give it a token may also open it in a
	// window of its own.
	alone bool
}

// newPolicy returns the policy for the page in frames of those origins, or in
// none.
func newPolicy(ancestors []string) policy {
	frames := "'none'"
	if len(ancestors) > 0 {
		frames = strings.Join(ancestors, " ")
	}
	return policy{
		alone: len(ancestors) == 0,
		before: "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; " +
			"img-src 'self' data:; font-src 'self'; worker-src 'self'; manifest-src 'self'; connect-src 'self'",
		after: "; base-uri 'none'; form-action 'none'; frame-ancestors " + frames,
	}
}

// write sets the headers of every answer, those for workers too: a worker has
// the policy of its own script. host is what the request has as Host.
func (p policy) write(header http.Header, host string) {
	connect := ""
	// 'self' has WebSockets of the same host in it for today's browsers, and not
	// for those of some years ago. What is no plain host is left out: it would be
	// read as more of the policy, or as an error.
	if host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-:") == "" {
		connect = " ws://" + host + " wss://" + host
	}
	header.Set("Content-Security-Policy", p.before+connect+p.after)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if p.alone {
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
}
