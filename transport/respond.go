package transport

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wsproxy/messages"
)

// answered returns what a response is charged: it is the caller's now.
func (l *link) answered(size int) charge {
	l.answers.pass(int64(size))
	return charge{l.memory, int64(size)}
}

// respond passes a tunnel's answer on to the outside client. The error says why
// it can't be; then nothing was written. held is what the answer is charged, and
// comes back as its body is written.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, answer *messages.Response, held charge) error {
	defer func() { held.keep(0) }()
	held.keep(max(held.held, int64(len(answer.Body)))) // longer than it came: see messages.DecodeControl

	out := w.Header()
	f := s.answerHeaders(answer.Headers, out)
	body, err := s.answerBody(answer, f, r.Method)
	if err != nil {
		clear(out)
		s.config.Log.Debug("a tunnel's answer can't be passed on", "error", err)
		return err
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
		// net/http takes these two out of a 304, by their canonical names.
		for _, name := range []string{"Content-Length", "Content-Type"} {
			if values := out[name]; values != nil {
				delete(out, name)
				out[strings.ToLower(name)] = values
			}
		}
	}
	w.WriteHeader(answer.Status)
	answer.Body, answer.Headers = nil, nil // so that writeBody can let go of them
	s.writeBody(w, body, &held)
	return nil
}

// bodyPiece is how many bytes of an answer an outside client must take within
// TUNNEL_HTTP_TIMEOUT: one that takes less holds memory and a slot for nothing.
const bodyPiece = 256 << 10

// writeBody writes an answer's body as long as the client takes it. A part of
// what lies in one piece can't be freed: so whenever half is written, the rest
// moves. In all that copies less than the body once.
func (s *Server) writeBody(w http.ResponseWriter, body []byte, held *charge) {
	control := http.NewResponseController(w)
	for len(body) > 0 {
		_ = control.SetWriteDeadline(time.Now().Add(s.config.Tunnels.HTTPTimeout))
		n, err := w.Write(body[:min(len(body), bodyPiece)])
		if err != nil {
			return
		}
		if body = body[n:]; len(body) > 0 && 2*int64(len(body)) <= held.held {
			body = bytes.Clone(body)
			held.keep(int64(len(body)))
		}
	}
	// What net/http still holds, too, while slot and charge last: that is all of
	// an answer without a body. The deadline ends with the request.
	_ = control.SetWriteDeadline(time.Now().Add(s.config.Tunnels.HTTPTimeout))
	_ = control.Flush()
}

// bodiless reports whether an answer has no body whatever it says (RFC 9110,
// section 6.4.1).
func bodiless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// answerBody returns the body of an answer as the tunnel's service meant it,
// or an error if it can't be that.
func (s *Server) answerBody(answer *messages.Response, f framing, method string) ([]byte, error) {
	// 101 would turn a proxy in front into a raw pipe.
	if answer.Status < 200 || answer.Status > 599 {
		return nil, errors.New("its status is not within 200 to 599")
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
	chunked := f.chunked()
	if chunked {
		var err error
		if body, err = decodeChunked(body); err != nil {
			return nil, err
		}
	}
	if int64(len(body)) > s.config.Tunnels.MaxBody {
		return nil, errors.New("its body is larger than TUNNEL_MAX_BODY")
	}
	// Transfer-Encoding overrides Content-Length (RFC 9112, section 6.3).
	if !chunked && !f.fits(int64(len(body))) {
		return nil, errors.New("its body is not as long as its Content-Length says")
	}
	return body, nil
}

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
