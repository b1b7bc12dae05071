package forward

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/fields"
	"wsproxy/transport/http1"
	"wsproxy/transport/outside"
)

// respond passes a tunnel's answer on to the outside client. The error says why
// it can't be; then nothing was written. held is what the answer is charged, and
// comes back as its body is written.
func (x *exchange) respond(answer *messages.Response, held budget.Reservation, dialect Dialect) *fields.UnfitError {
	defer func() {
		held.Keep(0)
		x.held.Store(0)
	}()
	held.Keep(max(held.Held(), int64(len(answer.Body)))) // longer than it came: see messages.DecodeControl

	x.held.Store(held.Held())

	g, w, r := x.gateway, x.w, x.r
	out := w.Header()
	f, unfit := g.fields.Answer(answer.Headers, out)
	var body []byte
	if unfit == nil {
		var err error
		if body, err = g.answerBody(answer, f, r.Method, dialect); err != nil {
			unfit = fields.Unfit(messages.ReasonBadAnswer, err.Error())
		}
	}
	if unfit != nil {
		clear(out)
		x.unfit = unfit
		return unfit
	}
	if _, given := out["Content-Type"]; !given {
		out["Content-Type"] = nil // the proxy doesn't guess for the tunnel
	}
	switch {
	case answer.Status == http.StatusNoContent: // has no length (RFC 9110, section 8.6)
	case r.Method == http.MethodHead || answer.Status == http.StatusNotModified:
		if length, ok := f.ContentLength(); ok {
			out.Set("Content-Length", strconv.FormatInt(length, 10))
		}
	default:
		out.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if answer.Status == http.StatusNotModified {
		outside.KeepInNotModified(r, out)
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
func (g *Gateway) answerBody(answer *messages.Response, f fields.Framing, method string, dialect Dialect) ([]byte, error) {
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
		if method != http.MethodHead && answer.Status == http.StatusNoContent && !f.Fits(0) {
			return nil, errors.New("it has no body, and its Content-Length says otherwise")
		}
		return nil, nil
	}
	chunked, decoded := f.Chunked(), false
	if chunked {
		body, decoded = http1.Unchunk(body)
	}
	if !decoded && (chunked || !f.Says()) && dialect.Doubts(body, chunked) {
		return nil, errors.New("its body was damaged by the client")
	}
	if int64(len(body)) > g.settings.MaxBody {
		return nil, errors.New("its body is larger than TUNNEL_MAX_BODY")
	}
	// Transfer-Encoding overrides Content-Length (RFC 9112, section 6.3).
	if !decoded && !f.Fits(int64(len(body))) {
		return nil, errors.New("its body is not as long as its Content-Length says")
	}
	return body, nil
}
