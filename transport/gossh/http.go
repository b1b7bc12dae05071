package gossh

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"wsproxy/messages"
	"wsproxy/transport/forward"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
)

const (
	// maxCarried is how many streams of a tunnel carry HTTP at most. The client
	// has 100 slots for these, other streams and requests.
	maxCarried = 32
	// carriedIdle is how long one waits for its next request: less than the
	// services that are quickest to close theirs (2 s), because this client
	// doesn't say when one has.
	carriedIdle = 1500 * time.Millisecond
	// maxAnswer is how much of an answer the client reads, in bytes.
	maxAnswer = 10 << 20
	// largeRemembered is how many requests are remembered whose answers were
	// too large for it.
	largeRemembered = 64
)

// requests is the part of a Dialect that says which requests go as bytes.
type requests struct {
	credentials bool          // TUNNEL_FORWARD_CREDENTIALS
	services    *service.Pool // set once

	mu    sync.Mutex
	large map[string]struct{} // under mu: methods and targets whose answers were too large
}

func newRequests(mux *tunnel.Mux, credentials bool) requests {
	return requests{credentials: credentials, large: make(map[string]struct{}), services: service.NewPool(service.Settings{
		Open: func(peer string) (service.Conn, error) {
			c, err := open(mux, peer)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Max: maxCarried, Idle: carriedIdle, Tried: true,
	})}
}

// Services are connections that this client can be made to let go of.
func (q *requests) Services() *service.Pool { return q.services }

// MaxRequest is the longest message that the client reads as one.
func (q *requests) MaxRequest() int { return maxMessage }

// TakesInline reports whether a request without a body can be sent as a message
// of n bytes without AsBytes being asked.
func (q *requests) TakesInline(n int) bool {
	if n > maxMessage || q.credentials {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.large) == 0
}

// AsBytes reports whether http_request can't carry a request: one that becomes
// something else, or whose answer has no end; one whose body is no UTF-8 or is
// too long, for the client sends it on as it is written in the JSON; one whose
// answer was too large before; and any whose answer may set several cookies, of
// which the client keeps the last.
func (q *requests) AsBytes(r *http.Request, body []byte) bool {
	if q.credentials || forward.IsUpgrade(r) || forward.WantsEvents(r) || len(body) >= maxMessage || !utf8.Valid(body) {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, large := q.large[largeKey(r)]
	return large
}

// largeKey stands for the requests that are taken to have answers of one size.
func largeKey(r *http.Request) string { return r.Method + " " + r.URL.Path }

// Doubts reports whether the client has damaged a body: it passes chunks on as
// they came, and the rest of what is too long for it not at all.
func (q *requests) Doubts(body []byte, chunked bool) bool { return chunked || len(body) >= maxAnswer }

// AskAgain reports whether an answer was too long for the client, or looks like
// one that it has damaged: cut off, or a text with bytes in it that were no
// UTF-8, which JSON has replaced. Also a service that writes UTF-8 makes such:
// when it puts a part of a character into one chunk, and the rest into the next.
func (q *requests) AskAgain(r *http.Request, damaged *messages.Response) bool {
	if damaged == nil || isCut(damaged) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.large) >= largeRemembered {
			clear(q.large)
		}
		q.large[largeKey(r)] = struct{}{}
		return true
	}
	return damaged.BodyEncoding == "" && bytes.Contains(damaged.Body, []byte("\uFFFD"))
}

// isCut reports whether an answer is longer than what the client reads.
func isCut(answer *messages.Response) bool {
	length := len(answer.Body)
	if answer.BodyEncoding == "base64" {
		length = base64.StdEncoding.DecodedLen(length)
	}
	if length >= maxAnswer {
		return true
	}
	for _, field := range answer.Headers {
		if length, err := strconv.ParseInt(field.Value, 10, 64); err == nil &&
			length > maxAnswer && strings.EqualFold(field.Name, "Content-Length") {
			return true
		}
	}
	return false
}
