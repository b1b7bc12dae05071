package forward

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/transport/fields"
	"wsproxy/transport/http1"
	"wsproxy/transport/outside"
	"wsproxy/transport/service"
)

// errUpgraded says that a request has become a connection that ends by itself.
var errUpgraded = errors.New("the request has become something else")

// upgradeOf returns the one protocol that a request may become, or "". Those that are
// HTTP themselves, or what lies below it, are none: their requests would pass unseen.
func upgradeOf(r *http.Request) string {
	values := r.Header["Upgrade"]
	if len(values) != 1 || r.ContentLength != 0 || !r.ProtoAtLeast(1, 1) || !IsUpgrade(r) {
		return ""
	}
	name, version, versioned := strings.Cut(values[0], "/")
	switch {
	case !httpguts.ValidHeaderFieldName(name), versioned && !httpguts.ValidHeaderFieldName(version):
		return "" // no token, or several (RFC 9110, section 7.8)
	case strings.EqualFold(name, "h2c"), versioned && (strings.EqualFold(name, "HTTP") || strings.EqualFold(name, "TLS")):
		return ""
	}
	return values[0]
}

// join makes a connection of the request, if the service has agreed to what was asked
// for: the outside client's connection becomes the end of the stream.
func (rt *roundTrip) join(head http1.Answer) error {
	x := rt.x
	header := make(http.Header)
	if _, unfit := x.gateway.fields.Answer(head.Fields, header); unfit != nil {
		return unfit
	}
	agreed := ""
	for _, f := range head.Fields {
		if f.Name == "Upgrade" {
			agreed += f.Value
		}
	}
	if rt.upgrade == "" || !strings.EqualFold(agreed, rt.upgrade) {
		return fields.Unfit(messages.ReasonBadAnswer, "it is 101, for something that was not asked for")
	}
	conn := outside.Of(x.r)
	if conn == nil {
		return fields.Unfit(messages.ReasonInternal, "the outside connection is not known")
	}
	_, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return outside.ErrGone
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	rt.connect(conn.TCPConn, http1.SwitchingHead(agreed, header), early)
	return errUpgraded
}

// connect joins the outside client's connection to the stream. head and what has come
// from the service behind its own go before all else, and early is what has come from
// the outside client.
func (rt *roundTrip) connect(conn *net.TCPConn, head, early []byte) {
	x := rt.x
	_ = conn.SetWriteDeadline(time.Now().Add(x.gateway.settings.HTTPTimeout))
	_, err := conn.Write(append(head, rt.rest...)) // less than the kernel takes at once
	_ = conn.SetWriteDeadline(time.Time{})
	if err == nil {
		_, err = rt.conn.Write(early)
	}
	rt.conn.Passed(rt.chunk)
	if err == nil {
		lease, ends := rt.conn, rt.ending()
		if stream := lease.Join(conn, func() { lease.Left(); ends() }); stream != nil {
			x.tell(&messages.RequestUpgraded{ID: x.id, Stream: stream})
			x.whenRevoked(func() { stream.Abort(messages.CloseReset) })
			x.w, x.r = nil, nil // the handler keeps the exchange while the stream lives, which may be days
			return
		}
	}
	rt.conn.End(service.OutcomeBroken, 0, messages.CloseReset)
	_ = conn.SetLinger(0)
	conn.Close()
	rt.ending()()
}
