package forward

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"wsproxy/messages"
	"wsproxy/transport/outside"
	"wsproxy/transport/tunnel"
)

// prepare makes what the tunnel is sent of a request whose body has yet to come,
// and lets go of the header. What is kept of it counts as memory.
func (x *exchange) prepare(mux *tunnel.Mux) (out outgoing, refusal messages.Reason) {
	if dialectOf(mux) == (messagesOnly{}) {
		message := x.message(nil)
		out.message = &message
		x.shed()
		x.header = mux.Reserve(0)
		if !x.header.Try(int64(message.Size())) {
			return out, messages.ReasonMemory
		}
		x.waits.Store(x.header.Held())
		return out, ""
	}
	x.header = mux.Reserve(0)
	if !x.header.Try(headSize(x.r)) {
		return out, messages.ReasonMemory
	}
	x.waits.Store(x.header.Held())
	outside.Counted(x.r)
	return out, ""
}

// keepHeader lets go of the header of a request whose frame is made, unless it may
// be sent as bytes: then it counts as memory.
func (x *exchange) keepHeader(mux *tunnel.Mux) {
	if dialectOf(mux) == (messagesOnly{}) {
		x.shed()
		return
	}
	x.header = mux.Reserve(0)
	x.header.Keep(headSize(x.r))
	x.waits.Store(x.header.Held())
	outside.Counted(x.r)
}

// dropHeader gives back what the header is charged.
func (x *exchange) dropHeader() {
	if x.header.Held() != 0 {
		x.header.Keep(0)
		x.waits.Store(0)
	}
}

// headerSize is about what a header takes in memory, in bytes.
func headerSize(header http.Header) (n int64) {
	const field = 64 // of the map and the slice
	for name, values := range header {
		for _, value := range values {
			n += int64(len(name) + len(value) + field)
		}
	}
	return n
}

// headSize is the same of what a request has before its body.
func headSize(r *http.Request) int64 { return int64(len(r.RequestURI)) + headerSize(r.Header) }

// shed lets go of what came in the request's head, but for what the answer
// depends on: a request may wait for minutes, and its header has 64 KiB.
func (x *exchange) shed() {
	var kept http.Header
	if x.r.Header.Get("Upgrade") != "" {
		kept = http.Header{"Upgrade": {"-"}} // see Answer
	}
	x.r.Header, x.r.URL, x.r.RequestURI, x.r.Host = kept, new(url.URL), "", ""
	outside.Counted(x.r)
}

// message returns what the tunnel's client gets of the request.
func (x *exchange) message(body []byte) messages.Request {
	headers := x.gateway.fields.Request(x.r, x.source)
	for i := range headers {
		headers[i].Value = decodeText(headers[i].Value)
	}
	return messages.Request{ID: x.id, Method: x.r.Method, Path: requestTarget(x.r), Headers: headers, Body: body}
}

// decodeText returns a header value as text: as ISO 8859-1 if it is not UTF-8 as
// a whole, for that is what such a sender means (RFC 9110, section 5.5).
func decodeText(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	text := make([]rune, len(value))
	for i := range len(value) {
		text[i] = rune(value[i])
	}
	return string(text)
}

// requestTarget returns path and query as they came. Each byte that is not part
// of valid UTF-8 is percent-encoded: in JSON it would be lost.
func requestTarget(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = r.URL.RequestURI() // absolute form: RFC 9112, section 3.2.2
	}
	if utf8.ValidString(target) {
		return target
	}
	var b strings.Builder
	for i := 0; i < len(target); {
		char, size := utf8.DecodeRuneInString(target[i:])
		if char == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", target[i])
		} else {
			b.WriteString(target[i : i+size])
		}
		i += size
	}
	return b.String()
}
