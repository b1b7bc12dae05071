package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

const (
	// bytesConns is how many raw connections of a tunnel carry HTTP at most. The
	// client has 100 slots for these, other raw connections and requests.
	bytesConns = 32
	// bytesIdle is how long one waits for its next request: less than the
	// services that are quickest to close theirs (2 s), because this client
	// doesn't say when one has.
	bytesIdle = 1500 * time.Millisecond
)

// bytesProxy passes HTTP requests through a tunnel as bytes: it opens raw
// connections as if somebody had connected to the tunnel's port, and speaks
// HTTP/1.1 over them with the service behind the client.
type bytesProxy struct {
	transport *http.Transport
}

func newBytesProxy(l *link) bytesProxy {
	return bytesProxy{&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			x := ctx.Value(exchangeKey{}).(*exchange)
			return l.dial(ctx, x.handler, net.JoinHostPort(x.source.String(), "0"))
		},
		DisableCompression:    true, // it is between the two ends
		MaxConnsPerHost:       bytesConns,
		MaxIdleConnsPerHost:   bytesConns,
		IdleConnTimeout:       bytesIdle,
		ResponseHeaderTimeout: l.tools.timeout,
	}}
}

type exchangeKey struct{}

// wantsBytes reports whether http_request can't carry a request whatever its
// body is: one that becomes something else, or whose answer has no end.
func wantsBytes(r *http.Request) bool {
	return upgrades(r) || httpguts.HeaderValuesContainsToken(r.Header["Accept"], "text/event-stream")
}

func upgrades(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") && r.Header.Get("Upgrade") != ""
}

// carriesGossh reports whether http_request can carry a body to gossh-wasm,
// which sends it on as it is written in the JSON. Whether the whole message is
// short enough is seen when it is made.
func carriesGossh(body []byte) bool { return len(body) < gosshMessage && utf8.Valid(body) }

// bytes sends the request through l as bytes, and answers it.
func (x *exchange) bytes(l *link, body []byte) {
	ctx, cancel := context.WithCancel(context.WithValue(x.r.Context(), exchangeKey{}, x))
	defer cancel()
	if x.patience > 0 {
		late := time.AfterFunc(x.patience, cancel)
		defer late.Stop()
		x.accepted = func() { late.Stop() }
	}
	ended := x.watch(cancel)
	var visits []*visit
	outcome := visitBroken
	defer func() {
		for i, v := range visits {
			if i < len(visits)-1 {
				v.end(visitBroken) // tried in vain
			} else {
				v.end(outcome)
			}
		}
		ended()
		x.cancel(messages.ReasonAbandoned) // it is done, one way or another
	}()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			visits = append(visits, info.Conn.(*insideConn).begin(info.Reused && info.IdleTime >= probeAfter))
		},
	})
	proxy := httputil.ReverseProxy{
		Transport: l.gossh.outside.transport,
		Rewrite:   func(p *httputil.ProxyRequest) { x.rewrite(p.Out, body) },
		ModifyResponse: func(answer *http.Response) error {
			return x.accept(answer, func() {
				outcome = visitKept
				if answer.Close {
					outcome = visitLast
				}
			}, visits[len(visits)-1].conn)
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			x.server.config.Log.Debug("a request as bytes failed", "error", err)
			x.server.refuseForward(x.w, x.failed(err))
		},
		ErrorLog: slog.NewLogLogger(x.server.config.Log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(&patientWriter{x.w, x.server.config.Tunnels.HTTPTimeout}, x.r.WithContext(ctx))
}

// againPatience is how long the second attempt may take to be answered: the
// client has answered the first already.
const againPatience = 10 * time.Second

// again asks once more, as bytes, for what came back damaged, if that is what
// gossh-wasm does to an answer, and if asking twice does no harm. It reports
// whether the request was answered.
func (x *exchange) again(damaged *messages.Response) bool {
	if x.r.ContentLength != 0 || x.r.Method != http.MethodGet && x.r.Method != http.MethodOptions || !spoiled(damaged) {
		return false
	}
	x.id, x.answer = messages.NewID(messages.IDBytes), make(chan messages.Answer, 1)
	proceed := make(chan messages.Mux, 1)
	x.send(&messages.OpenRequest{ID: x.id, Count: netpolicy.CountKey(x.source), Proceed: proceed, Answer: x.answer})
	_, through, answered := x.wait(proceed)
	if answered {
		return false
	}
	l := through.(*link)
	if l.gossh == nil {
		x.cancel(messages.ReasonBadAnswer)
		return false
	}
	x.patience = againPatience
	x.bytes(l, nil)
	return true
}

// gosshAnswer is how much of an answer gossh-wasm reads, in bytes.
const gosshAnswer = 10 << 20

// spoiled reports whether an answer looks like one that gossh-wasm has damaged:
// cut off, or a text with bytes in it that were no UTF-8, which JSON has
// replaced. Also a service that writes UTF-8 makes such: when it puts a part of
// a character into one chunk, and the rest into the next.
func spoiled(answer *messages.Response) bool {
	for _, field := range answer.Headers {
		if length, err := strconv.ParseInt(field.Value, 10, 64); err == nil &&
			length > gosshAnswer && strings.EqualFold(field.Name, "Content-Length") {
			return true
		}
	}
	return answer.BodyEncoding == "" && bytes.Contains(answer.Body, []byte("\uFFFD"))
}

// failed says what the outside client hears when there is no answer.
func (x *exchange) failed(err error) messages.Reason {
	select {
	case answer := <-x.answer: // the tunnel has ended, or its handler has failed
		x.answer <- answer // for cancel, which would wait for another one
		return answer.Refusal
	default:
	}
	var timeout net.Error
	switch {
	case x.r.Context().Err() != nil:
		return messages.ReasonAbandoned
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return messages.ReasonAnswerLate
	}
	return messages.ReasonBadAnswer
}

// rewrite makes the request that the service gets: what http_request would
// carry, and beside it the headers that only bytes can honour.
func (x *exchange) rewrite(out *http.Request, body []byte) {
	header := make(http.Header)
	for _, f := range x.server.requestHeaders(x.r, x.source) {
		header[f.Name] = []string{f.Value}
	}
	kept := []string{"Accept-Encoding"}
	if upgrades(x.r) {
		kept = append(kept, "Connection", "Upgrade")
	}
	for _, name := range kept {
		if values := out.Header[name]; values != nil {
			header[name] = values
		}
	}
	out.Header = header
	out.Host = x.r.Host
	target := requestTarget(x.r)
	out.URL = &url.URL{Scheme: "http", Host: "tunnel", Path: x.r.URL.Path, RawPath: x.r.URL.RawPath,
		RawQuery: x.r.URL.RawQuery, ForceQuery: x.r.URL.ForceQuery}
	if out.URL.RequestURI() != target && !strings.HasPrefix(target, "//") {
		out.URL = &url.URL{Scheme: "http", Host: "tunnel", Opaque: target}
	}
	if header["Idempotency-Key"] == nil && header["X-Idempotency-Key"] == nil {
		// Present but empty it is not sent: it says that the request may be sent
		// again when a connection that was kept turns out to have ended. Then
		// the service has not seen the first one whole: see insideConn.Write.
		header["Idempotency-Key"] = []string{}
	}
	out.Body, out.GetBody, out.ContentLength, out.TransferEncoding = nil, nil, 0, nil
	if len(body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
		out.ContentLength = int64(len(body))
	}
}

// accept makes of the service's answer what the outside client gets. whole is
// called when its body has been read to its end.
func (x *exchange) accept(answer *http.Response, whole func(), from *insideConn) error {
	switched := answer.StatusCode == http.StatusSwitchingProtocols
	if !switched && (answer.StatusCode < 200 || answer.StatusCode > 599) {
		return errors.New("its status is not within 200 to 599")
	}
	x.accepted()
	var fields []messages.Field
	for name, values := range answer.Header {
		for _, value := range values {
			fields = append(fields, messages.Field{Name: name, Value: value})
		}
	}
	header := make(http.Header)
	f := x.server.answerHeaders(fields, header)
	if length, ok := f.contentLength(); ok && answer.StatusCode != http.StatusNoContent && !switched {
		header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if switched {
		for _, name := range []string{"Connection", "Upgrade"} {
			header[name] = answer.Header[name]
		}
	} else {
		body := &answerBody{ReadCloser: answer.Body, whole: whole}
		if answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 {
			body.untilClose = from
		}
		answer.Body = body
	}
	answer.Header = header
	x.w.Header()["Content-Type"] = nil // the proxy doesn't guess for the tunnel
	return nil
}

// An answerBody is a body that says when it has been read to its end.
//
// The end of one that lasts until the service closes the connection is not told
// by this client, unless it fails to write. So such a service is written to
// now and then while it is silent. Should it not have ended, that does no harm:
// it reads no request after this one (RFC 9112, section 9.6).
type answerBody struct {
	io.ReadCloser
	whole      func()
	untilClose *insideConn // nil if the body says where it ends
}

const (
	// silence is how long a body that lasts until the connection's end is
	// silent before its service is written to, and between that and the next.
	silence = 2 * time.Second
	// silences is how often that is done at most while nothing comes.
	silences = 30
)

func (b *answerBody) Read(p []byte) (int, error) {
	if b.untilClose != nil {
		came := make(chan struct{})
		defer close(came)
		startPump(b.untilClose.link.tools.log, "silence", func() { b.breakSilence(came) }, func() {})
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole()
	}
	return n, err
}

func (b *answerBody) breakSilence(came <-chan struct{}) {
	look := time.NewTicker(silence)
	defer look.Stop()
	for range silences {
		select {
		case <-came:
			return
		case <-look.C:
			_, _ = b.untilClose.UnixConn.Write([]byte{'\n'})
		}
	}
}

// A patientWriter gives an outside client so long for each piece of an answer,
// and no longer: one that takes nothing holds a connection for nothing.
type patientWriter struct {
	http.ResponseWriter
	patience time.Duration
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience))
	return w.ResponseWriter.Write(p)
}

// WriteHeader passes no interim answer on: its headers don't come by accept.
// 101 is a final one.
func (w *patientWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		clear(w.Header())
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
