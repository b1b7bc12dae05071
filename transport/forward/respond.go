package forward

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/budget"
)

// respond passes a tunnel's answer on to the outside client. The error says why
// it can't be; then nothing was written. held is what the answer is charged, and
// comes back as its body is written.
func (x *exchange) respond(answer *messages.Response, held budget.Reservation, dialect Dialect) *unfitError {
	defer func() {
		held.Keep(0)
		x.held.Store(0)
	}()
	held.Keep(max(held.Held(), int64(len(answer.Body)))) // longer than it came: see messages.DecodeControl

	x.held.Store(held.Held())

	g, w, r := x.gateway, x.w, x.r
	out := w.Header()
	f, unfit := g.answerHeaders(answer.Headers, out)
	var body []byte
	if unfit == nil {
		var err error
		if body, err = g.answerBody(answer, f, r.Method, dialect); err != nil {
			unfit = &unfitError{messages.ReasonBadAnswer, err.Error()}
		}
	}
	if unfit != nil {
		clear(out)
		g.settings.Log.Debug("a tunnel's answer can't be passed on", "error", unfit.why)
		return unfit
	}
	if _, given := out["Content-Type"]; !given {
		out["Content-Type"] = nil // the proxy doesn't guess for the tunnel
	}
	switch {
	case answer.Status == http.StatusNoContent: // has no length (RFC 9110, section 8.6)
	case r.Method == http.MethodHead || answer.Status == http.StatusNotModified:
		if length, ok := f.contentLength(); ok {
			out.Set("Content-Length", strconv.FormatInt(length, 10))
		}
	default:
		out.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if answer.Status == http.StatusNotModified {
		keepInNotModified(r, out)
	}
	w.WriteHeader(answer.Status)
	answer.Body, answer.Headers = nil, nil // so that writeBody can let go of them
	x.writeBody(body, &held)
	return nil
}

// writeBody writes an answer's body as long as the client takes it. A part of
// what lies in one piece can't be freed: so whenever half is written, the rest
// moves. In all that copies less than the body once.
func (x *exchange) writeBody(body []byte, held *budget.Reservation) {
	control := http.NewResponseController(x.w)
	for len(body) > 0 {
		_ = control.SetWriteDeadline(time.Now().Add(x.gateway.settings.HTTPTimeout))
		if x.isCut() {
			return
		}
		n, err := x.w.Write(body[:min(len(body), bodyPiece)])
		if err != nil {
			return
		}
		if body = body[n:]; len(body) > 0 && 2*int64(len(body)) <= held.Held() {
			body = bytes.Clone(body)
			held.Keep(int64(len(body)))
			x.held.Store(held.Held())
		}
	}
	// What net/http still holds, too, while slot and charge last: that is all of
	// an answer without a body. The deadline ends with the request.
	_ = control.SetWriteDeadline(time.Now().Add(x.gateway.settings.HTTPTimeout))
	if !x.isCut() {
		_ = control.Flush()
	}
}

// bodiless reports whether an answer has no body whatever it says (RFC 9110,
// section 6.4.1).
func bodiless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// answerBody returns the body of an answer as the tunnel's service meant it,
// or an error if it can't be that.
func (g *Gateway) answerBody(answer *messages.Response, f framing, method string, dialect Dialect) ([]byte, error) {
	if answer.Status < 200 || answer.Status > 599 {
		return nil, errStatus
	}
	var body []byte
	switch answer.BodyEncoding {
	case "":
		body = answer.Body
	case "base64":
		// In place, because it is charged as it came: what is written is always
		// behind what is read, of four bytes three are left.
		n, err := base64.StdEncoding.Decode(answer.Body, answer.Body)
		if err != nil {
			return nil, errors.New("its body is not valid base64")
		}
		body = answer.Body[:n]
	default:
		return nil, errors.New("its bodyEncoding is not known")
	}
	if bodiless(method, answer.Status) {
		if method != http.MethodHead && answer.Status == http.StatusNoContent && !f.fits(0) {
			return nil, errors.New("it has no body, and its Content-Length says otherwise")
		}
		return nil, nil
	}
	chunked, decoded := f.chunked(), false
	if chunked {
		body, decoded = decodeChunked(body)
	}
	if !decoded && (chunked || !f.says()) && dialect.Doubts(body, chunked) {
		return nil, errors.New("its body was damaged by the client")
	}
	if int64(len(body)) > g.settings.MaxBody {
		return nil, errors.New("its body is larger than TUNNEL_MAX_BODY")
	}
	// Transfer-Encoding overrides Content-Length (RFC 9112, section 6.3).
	if !decoded && !f.fits(int64(len(body))) {
		return nil, errors.New("its body is not as long as its Content-Length says")
	}
	return body, nil
}

// says reports whether there is a Content-Length that says something.
func (f framing) says() bool { return !f.fits(-1) }

// fits reports whether a body of n bytes is as long as the answer's
// Content-Length says: as one of them if they contradict each other. What is no
// number says nothing.
func (f framing) fits(n int64) bool {
	said := false
	for _, line := range f.lengths {
		for text := range strings.SplitSeq(line, ",") {
			length, err := strconv.ParseUint(strings.Trim(text, " \t"), 10, 63)
			if err == nil && int64(length) == n {
				return true
			}
			said = said || err == nil
		}
	}
	return !said
}

// contentLength returns the Content-Length that an answer gives, if it is
// valid (RFC 9110, section 8.6: several equal ones are one).
func (f framing) contentLength() (n int64, ok bool) {
	n = -1
	for _, line := range f.lengths {
		for text := range strings.SplitSeq(line, ",") {
			text = strings.Trim(text, " \t")
			length, err := strconv.ParseUint(text, 10, 63)
			if err != nil || n >= 0 && n != int64(length) {
				return 0, false
			}
			n = int64(length)
		}
	}
	return n, n >= 0
}

func (f framing) chunked() bool {
	for _, line := range f.codings {
		for coding := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(coding, " \t"), "chunked") {
				return true
			}
		}
	}
	return false
}
