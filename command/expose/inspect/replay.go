package inspect

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"wsproxy/command/expose/tap"
)

// Bounds of replays.
const (
	// replayTimeout is how long an answer is read, events included.
	replayTimeout = 60 * time.Second
	// replayWait is how long the page waits to hear the number of its request.
	replayWait = 15 * time.Second
	// maxReplays is how many are under way at once.
	maxReplays = 8
)

// A replayRequest asks for a request once more. What is absent is as it was.
type replayRequest struct {
	ID       uint64      `json:"id"`
	Method   *string     `json:"method"`
	Path     *string     `json:"path"`
	Headers  [][2]string `json:"headers"` // nil for those that there were
	Body     *string     `json:"body"`
	Encoding string      `json:"bodyEncoding"` // "base64", or absent
}

// A problem is what is wrong with what was asked, as a sentence.
type problem struct {
	status   int
	sentence string
}

func (p *problem) Error() string { return p.sentence }

func bad(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// Of frames and connections, which are made anew.
var notReplayed = []string{"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect", "Proxy-Connection"}

// build returns the bytes of the request, and its method.
func (r *replayRequest) build(x *tap.Exchange) (message []byte, method string, err error) {
	if x.Kept == nil || len(x.RequestHead) == 0 {
		return nil, "", &problem{http.StatusGone, "this request is not kept any more: newer ones have taken its room"}
	}
	if x.Upgraded {
		return nil, "", bad("a connection that was upgraded can't be asked for again: it is more than one request")
	}
	method, path := x.Method, x.Path
	if r.Method != nil {
		method = *r.Method
	}
	if r.Path != nil {
		path = *r.Path
	}
	if !isToken(method) || strings.EqualFold(method, "CONNECT") {
		return nil, "", bad("%q is no method", method)
	}
	if path != "*" && !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, "", bad("a path begins with / and has neither blanks nor control characters in it: write %%20 for a blank")
	}
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\n", method, path)
	headers := r.Headers
	if headers == nil {
		_, headers = parseHeadRaw(x.RequestHead)
	}
	hosts := 0
	for _, h := range headers {
		name, value := h[0], strings.Trim(h[1], " \t")
		if !isToken(name) {
			return nil, "", bad("%q is no name of a header field", name)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, "", bad("the value of %s has control characters in it", name)
		}
		if containsFold(notReplayed, name) {
			continue
		}
		if strings.EqualFold(name, "Host") {
			hosts++
		}
		b = fmt.Appendf(b, "%s: %s\r\n", name, value)
	}
	if hosts != 1 {
		return nil, "", bad("a request has one Host field, this one has %d", hosts)
	}
	body, err := r.body(x)
	if err != nil {
		return nil, "", err
	}
	if len(body) > 0 || method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(body))
	}
	b = append(b, "Connection: close\r\n\r\n"...)
	return append(b, body...), method, nil
}

func (r *replayRequest) body(x *tap.Exchange) ([]byte, error) {
	switch {
	case r.Body == nil && x.RequestCut:
		return nil, &problem{http.StatusConflict, "the body was longer than what is kept of it, so it can't be sent again as it was: replay it edited"}
	case r.Body == nil && !x.Ended:
		return nil, &problem{http.StatusConflict, "the request is still under way"}
	case r.Body == nil:
		return x.RequestBody, nil
	case r.Encoding == "":
		return []byte(*r.Body), nil
	case r.Encoding == "base64":
		b, err := base64.StdEncoding.DecodeString(*r.Body)
		if err != nil {
			return nil, bad("the body is no base64")
		}
		return b, nil
	}
	return nil, bad("bodyEncoding is \"base64\" or absent")
}

// parseHeadRaw is parseHead with values byte for byte.
func parseHeadRaw(head []byte) (start string, fields [][2]string) {
	for i, line := range strings.Split(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && i > 0 {
			fields = append(fields, [2]string{name, value})
		}
	}
	return "", fields
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func containsFold(list []string, s string) bool {
	for _, one := range list {
		if strings.EqualFold(one, s) {
			return true
		}
	}
	return false
}

// replay sends a request to the service behind a tap, and returns the number under
// which it is in the store. The answer is read by a goroutine of its own, which ends
// with the server.
func (s *Server) replay(ctx context.Context, t *tap.Tap, message []byte, method string) (uint64, error) {
	select {
	case s.replays <- struct{}{}:
	default:
		return 0, &problem{http.StatusTooManyRequests, "several replays are under way: wait for one of them to end"}
	}
	running, cancel := context.WithTimeout(s.ctx, replayTimeout)
	near, far := net.Pipe()
	began := make(chan uint64, 1)
	s.running.Go(func() {
		defer cancel()
		t.Replay(running, pipe{far}, func(id uint64) { began <- id })
	})
	s.running.Go(func() {
		defer func() { <-s.replays }()
		defer near.Close()
		go func() { _, _ = near.Write(message) }() // ends with near, if not before
		r := bufio.NewReader(near)
		answer, err := http.ReadResponse(r, &http.Request{Method: method})
		for err == nil && answer.StatusCode < 200 && answer.StatusCode != 101 {
			answer, err = http.ReadResponse(r, &http.Request{Method: method})
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	})
	select {
	case id := <-began:
		return id, nil
	case <-running.Done(): // maybe because all of it is over
		select {
		case id := <-began:
			return id, nil
		default:
		}
	case <-ctx.Done():
	case <-time.After(replayWait):
	}
	return 0, &problem{http.StatusBadGateway, "the service could not be asked"}
}

// A pipe is the proxy's side of a replay.
type pipe struct{ net.Conn }

// CloseWrite ends it.
func (p pipe) CloseWrite() error { return p.Close() }

// Reset ends it.
func (p pipe) Reset() error { return p.Close() }
