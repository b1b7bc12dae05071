package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/budget"
	"wsproxy/transport/fields"
	"wsproxy/transport/outside"
)

// A passage is a request that is sent as bytes. A request that could not be
// sent over a connection that was kept may have several uses.
type passage struct {
	request  []byte // its body
	uses     []Use
	conn     *carried           // that of the last use
	kept     bool               // it had served another request
	answer   budget.Reservation // for the answer's head
	wrote    atomic.Bool        // the request has gone out whole
	switched bool               // the answer is 101
	answered bool               // the answer's head has come
	whole    bool               // all of the answer has come
	last     bool               // the service closes the connection
}

// got notes the connection that the request goes over.
func (p *passage) got(conn *carried, idle time.Duration, once bool, cancel context.CancelCauseFunc) {
	p.wrote.Store(false)
	p.conn, p.kept = conn, idle > 0
	p.uses = append(p.uses, conn.begin(idle, once, cancel))
}

// use is the one that has the answer.
func (p *passage) use() Use { return p.uses[len(p.uses)-1] }

func (p *passage) end() {
	p.answer.Keep(0)
	for i, use := range p.uses {
		if i < len(p.uses)-1 {
			use.End(OutcomeBroken) // tried in vain
		} else {
			use.End(p.outcome())
		}
	}
}

func (p *passage) outcome() Outcome {
	wrote := p.wrote.Load() || p.answered && len(p.request) == 0
	switch {
	case p.whole && p.last:
		return OutcomeLast
	case p.switched || !wrote:
		return OutcomeBroken
	case p.whole:
		return OutcomeKept
	}
	return OutcomeLeft
}

// Why a request as bytes is given up.
var (
	errNoConn      = errors.New("no connection came free")
	errLate        = errors.New("the answer did not come in time")
	errMemory      = errors.New("there is no memory for the answer's head")
	errInterrupted = errors.New("the tunnel has ended the connection")
)

// asBytes sends the request as bytes, and answers it.
func (x *exchange) asBytes(dialect Dialect, body []byte) {
	peer := net.JoinHostPort(x.source.String(), "0")
	ctx, cancel := context.WithCancelCause(context.WithValue(x.r.Context(), peerKey{}, peer))
	defer cancel(nil)
	carrier, timeout := dialect.Carrier(), x.gateway.settings.HTTPTimeout
	waits := time.AfterFunc(timeout, func() { cancel(errNoConn) })
	defer waits.Stop()
	if x.patience > 0 {
		late := time.AfterFunc(x.patience, func() { cancel(errLate) })
		defer late.Stop()
		x.accepted = func() { late.Stop() }
	}
	ended := x.watch(func() { cancel(nil) })
	p := &passage{request: body, answer: carrier.settings.Reserve()}
	defer func() {
		if x.end() {
			x.gateway.settings.Meter.Refused("forward", messages.ReasonGaveWay)
		}
		p.end()
		ended()
		x.cancel(messages.ReasonAbandoned) // it is done, one way or another
	}()
	giveBack, ok := carrier.shares.take(ctx, netpolicy.CountKey(x.source))
	if !ok {
		x.refuse(x.failed(ctx, context.Cause(ctx)))
		return
	}
	defer giveBack()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if len(p.uses) > 0 { // it is sent again
				waits.Reset(timeout)
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			waits.Stop()
			if !p.answer.Try(answerRoom) {
				cancel(errMemory)
			}
			p.got(info.Conn.(*carried), info.IdleTime, !isSafe(x.r.Method), cancel)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) { p.wrote.Store(info.Err == nil) },
	})
	proxy := httputil.ReverseProxy{
		Transport:      repeater{carrier.transport, p},
		Rewrite:        func(r *httputil.ProxyRequest) { x.rewrite(r.Out, body) },
		ModifyResponse: func(answer *http.Response) error { return x.accept(answer, p) },
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			x.refuse(x.failed(r.Context(), err))
		},
		ErrorLog: unlogged, // some of its errors quote the service
	}
	proxy.ServeHTTP(&boundedWriter{x.w, x.r, timeout}, x.r.WithContext(ctx))
}

// failed says what the outside client hears when there is no answer. ctx is the
// attempt's. The error may hold bytes of the service: it is no line of any log.
func (x *exchange) failed(ctx context.Context, err error) messages.Reason {
	select {
	case answer := <-x.answer: // the tunnel has ended, or its handler has failed
		x.answer <- answer // for cancel, which would wait for another one
		return answer.Refusal
	default:
	}
	var unfit *fields.UnfitError
	var timeout net.Error
	switch {
	case errors.As(err, &unfit):
		return unfit.Reason
	case x.r.Context().Err() != nil:
		return messages.ReasonAbandoned
	case context.Cause(ctx) == errMemory:
		return messages.ReasonMemory
	case context.Cause(ctx) == errInterrupted:
		return messages.ReasonTunnelGone
	case context.Cause(ctx) == errLate, context.Cause(ctx) == errNoConn, errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return messages.ReasonAnswerLate
	}
	return messages.ReasonBadAnswer
}

// rewrite makes the request that the service gets: what http_request would
// carry, and beside it the headers that only bytes can honour.
func (x *exchange) rewrite(out *http.Request, body []byte) {
	header := make(http.Header)
	for _, f := range x.gateway.fields.Request(x.r, x.source) {
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
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		// By such a header net/http would send any request again. In lower case
		// it means the same to the service and nothing to net/http.
		if values := header[name]; values != nil {
			delete(header, name)
			header[strings.ToLower(name)] = values
		}
	}
	out.Body, out.GetBody, out.ContentLength, out.TransferEncoding = nil, nil, 0, nil
	if len(body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
		out.ContentLength = int64(len(body))
	}
}

// accept makes of the service's answer what the outside client gets.
func (x *exchange) accept(answer *http.Response, p *passage) error {
	switched := answer.StatusCode == http.StatusSwitchingProtocols
	p.answered, p.switched, p.last = true, switched, answer.Close
	p.conn.headCame()
	p.use().Answered(answer)
	if !switched && (answer.StatusCode < 200 || answer.StatusCode > 599) {
		return errStatus
	}
	x.accepted()
	x.begin(x.w, x.r)
	var fields []messages.Field
	for name, values := range answer.Header {
		for _, value := range values {
			fields = append(fields, messages.Field{Name: name, Value: value})
		}
	}
	header := make(http.Header)
	f, unfit := x.gateway.fields.Answer(fields, header)
	if unfit != nil {
		return unfit
	}
	p.answer.Keep(headerSize(answer.Header))
	if length, ok := f.ContentLength(); ok && answer.StatusCode != http.StatusNoContent && !switched {
		header.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if switched {
		for _, name := range []string{"Connection", "Upgrade"} {
			header[name] = answer.Header[name]
		}
	}
	if !switched {
		x.gateway.fields.Trailer(answer.Trailer)
		answer.Body = &answerBody{answer.Body, func() error {
			// What was not announced is there only now.
			if unfit := x.gateway.fields.Trailer(answer.Trailer); unfit != nil {
				return unfit
			}
			p.whole = true
			return nil
		}}
	}
	answer.Header = header
	x.w.Header()["Content-Type"] = nil // the proxy doesn't guess for the tunnel
	return nil
}

// An answerBody is a body that says when it has been read to its end. If whole
// fails, the answer is cut, for it can't be passed on to its end.
type answerBody struct {
	io.ReadCloser
	whole func() error
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		if unfit := b.whole(); unfit != nil {
			return n, unfit
		}
	}
	return n, err
}

// A boundedWriter gives an outside client so long for each piece of an answer,
// and no longer: one that takes nothing holds a connection for nothing.
type boundedWriter struct {
	http.ResponseWriter
	r       *http.Request
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
	if status == http.StatusNotModified {
		outside.KeepInNotModified(w.r, w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
