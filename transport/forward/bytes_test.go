package forward

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"

	"wsproxy/messages"
)

// An interim answer doesn't come outside, nor does anything of it in the final
// one, whose type is not guessed in spite of it.
func TestBytesWithoutInterimAnswers(t *testing.T) {
	r := startedGosshRig(t)
	s := tunnelServer(false)
	s.config.Root, s.config.Meter, s.config.Log = r.system.Root, &tunnelMeter{}, slog.New(slog.DiscardHandler)
	word := make(chan messages.Answer, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		x := &exchange{
			server: s, w: w, r: request, handler: r.handler.pid, id: messages.NewID(messages.IDBytes),
			source: netip.MustParseAddr("192.0.2.1"), answer: word, accepted: func() {},
		}
		x.bytes(r.link, nil)
	}))
	t.Cleanup(front.Close)

	type outcome struct {
		answer  *http.Response
		body    string
		interim int
		err     error
	}
	came := make(chan outcome, 1)
	go func() {
		var o outcome
		request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { o.interim++; return nil },
		}), "GET", front.URL, nil)
		if o.answer, o.err = front.Client().Do(request); o.err == nil {
			var body []byte
			body, o.err = io.ReadAll(o.answer.Body)
			o.answer.Body.Close()
			o.body = string(body)
		}
		came <- o
	}()

	c := r.opensInside()
	hears[*messages.Data](r.handler)
	for asked := ""; !strings.HasSuffix(asked, "\r\n\r\n"); {
		asked += string(r.clientReads().data)
	}
	answer := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nStrict-Transport-Security: max-age=1\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-A: b\r\nConnection: close\r\n\r\n<html>"
	c.Hold(len(answer))
	c.Write([]byte(answer))
	hears[*messages.CancelRequest](r.handler)
	word <- messages.Answer{Refusal: messages.ReasonAbandoned}

	got := <-came
	if got.err != nil || got.answer.StatusCode != 200 || got.body != "<html>" {
		t.Fatalf("outside comes %+v", got)
	}
	if got.interim != 0 {
		t.Errorf("%d interim answers come outside", got.interim)
	}
	header := got.answer.Header
	header.Del("Date")
	header.Del("Content-Length")
	if len(header) != 1 || header.Get("X-A") != "b" {
		t.Errorf("the headers outside are %v", header)
	}
}
