package forward

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

	"wsproxy/messages"
)

// A Carrier passes HTTP requests through a tunnel as bytes: it opens streams
// whose outer end is in this process, and speaks HTTP/1.1 over them with the
// service behind the client.
type Carrier struct{ transport *http.Transport }

// CarrierSettings are those of a [Carrier]. All fields are required.
type CarrierSettings struct {
	// Dial opens a connection, which is a [Conn] too, for a request from peer.
	Dial     func(ctx context.Context, peer string) (net.Conn, error)
	MaxConns int           // of the tunnel
	MaxIdle  time.Duration // how long one may wait for its next request
	Timeout  time.Duration // from a request's end to its answer's head
}

// NewCarrier returns a carrier. It starts nothing.
func NewCarrier(s CarrierSettings) *Carrier {
	return &Carrier{&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Dial(ctx, ctx.Value(peerKey{}).(string))
		},
		DisableCompression:     true, // it is between the two ends
		MaxConnsPerHost:        s.MaxConns,
		MaxIdleConnsPerHost:    s.MaxConns,
		IdleConnTimeout:        s.MaxIdle,
		ResponseHeaderTimeout:  s.Timeout,
		MaxResponseHeaderBytes: 2 * maxAnswerHeaderBytes, // what is above is refused with a reason
	}}
}

type peerKey struct{}

// asBytes sends the request as bytes, and answers it.
func (x *exchange) asBytes(dialect Dialect, body []byte) {
	peer := net.JoinHostPort(x.source.String(), "0")
	ctx, cancel := context.WithCancel(context.WithValue(x.r.Context(), peerKey{}, peer))
	defer cancel()
	if x.patience > 0 {
		late := time.AfterFunc(x.patience, cancel)
		defer late.Stop()
		x.accepted = func() { late.Stop() }
	}
	ended := x.watch(cancel)
	var uses []Use
	outcome := OutcomeBroken
	defer func() {
		for i, use := range uses {
			if i < len(uses)-1 {
				use.End(OutcomeBroken) // tried in vain
			} else {
				use.End(outcome)
			}
		}
		ended()
		x.cancel(messages.ReasonAbandoned) // it is done, one way or another
	}()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			uses = append(uses, info.Conn.(Conn).Begin(info.IdleTime))
		},
	})
	proxy := httputil.ReverseProxy{
		Transport: dialect.Carrier().transport,
		Rewrite:   func(p *httputil.ProxyRequest) { x.rewrite(p.Out, body) },
		ModifyResponse: func(answer *http.Response) error {
			return x.accept(answer, uses[len(uses)-1], func() {
				outcome = OutcomeKept
				if answer.Close {
					outcome = OutcomeLast
				}
			})
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			x.refuse(x.failed(err))
		},
		ErrorLog: slog.NewLogLogger(x.gateway.Log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(&boundedWriter{x.w, x.gateway.HTTPTimeout}, x.r.WithContext(ctx))
}

// failed says what the outside client hears when there is no answer. The error
// may hold bytes of the service: it is no line of any log.
func (x *exchange) failed(err error) messages.Reason {
	select {
	case answer := <-x.answer: // the tunnel has ended, or its handler has failed
		x.answer <- answer // for cancel, which would wait for another one
		return answer.Refusal
	default:
	}
	var unfit *unfitError
	var timeout net.Error
	switch {
	case errors.As(err, &unfit):
		return unfit.reason
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
	for _, f := range x.gateway.requestHeaders(x.r, x.source) {
		header[f.Name] = []string{f.Value}
	}
	kept := []string{"Accept-Encoding"}
	if IsUpgrade(x.r) {
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
		// again when a connection that was kept turns out to have ended. The
		// connection's Write sees to it that the service has not seen the first
		// one whole.
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
func (x *exchange) accept(answer *http.Response, use Use, whole func()) error {
	switched := answer.StatusCode == http.StatusSwitchingProtocols
	if !switched && (answer.StatusCode < 200 || answer.StatusCode > 599) {
		return errStatus
	}
	x.accepted()
	var fields []messages.Field
	for name, values := range answer.Header {
		for _, value := range values {
			fields = append(fields, messages.Field{Name: name, Value: value})
		}
	}
	header := make(http.Header)
	f, unfit := x.gateway.answerHeaders(fields, header)
	if unfit != nil {
		return unfit
	}
	if length, ok := f.contentLength(); ok && answer.StatusCode != http.StatusNoContent && !switched {
		header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if switched {
		for _, name := range []string{"Connection", "Upgrade"} {
			header[name] = answer.Header[name]
		}
	}
	use.Answered(answer)
	if !switched {
		x.gateway.filterTrailer(answer.Trailer)
		answer.Body = &answerBody{answer.Body, func() {
			x.gateway.filterTrailer(answer.Trailer) // what was not announced is there only now
			whole()
		}}
	}
	answer.Header = header
	x.w.Header()["Content-Type"] = nil // the proxy doesn't guess for the tunnel
	return nil
}

// An answerBody is a body that says when it has been read to its end.
type answerBody struct {
	io.ReadCloser
	whole func()
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole()
	}
	return n, err
}

// A boundedWriter gives an outside client so long for each piece of an answer,
// and no longer: one that takes nothing holds a connection for nothing.
type boundedWriter struct {
	http.ResponseWriter
	timeout time.Duration
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout))
	return w.ResponseWriter.Write(p)
}

// WriteHeader passes no interim answer on: its headers don't come by accept.
// 101 is a final one.
func (w *boundedWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		clear(w.Header())
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
