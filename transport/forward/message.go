package forward

import (
	"net/http"
	"net/url"

	"wsproxy/messages"
	"wsproxy/transport/fields"
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
	if !x.header.Try(fields.HeadSize(x.r)) {
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
	x.header.Keep(fields.HeadSize(x.r))
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
		headers[i].Value = fields.Text(headers[i].Value)
	}
	return messages.Request{ID: x.id, Method: x.r.Method, Path: fields.Target(x.r), Headers: headers, Body: body}
}
