package forward

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"context"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// Interim answers have the bounds of others, and a number.
func TestInterimAnswersAreBounded(t *testing.T) {
	tiny := "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("a:\r\n", messages.MaxAnswerFields+1) + "\r\n"
	for name, tt := range map[string]struct {
		head string
		want messages.Reason
	}{
		"a few":          {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5), ""},
		"too many":       {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload; as=style; padding="+strings.Repeat("x", 400)+"\r\n\r\n", 40), messages.ReasonBadAnswer},
		"one, too large": {strings.Repeat(tiny, 10), messages.ReasonAnswerHeaders},
	} {
		r := newBytesRig(t, 1, testkit.Patience)
		got := r.serves(tt.head + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		if got.err != nil || (got.answer.StatusCode == 200) != (tt.want == "") {
			t.Errorf("%s: outside comes %+v", name, got)
		}
		if tt.want != "" && (len(r.meter.refused) != 1 || r.meter.refused[0] != tt.want) {
			t.Errorf("%s: it is counted as %q", name, r.meter.refused)
		}
	}
}

// What has come of an answer's head is memory of the tunnel.
func TestAnswerHeadIsCounted(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	before := r.Mux.Memory().Held()
	came := r.asks(t.Context(), "GET", "")
	s := r.Takes()
	r.reads("\r\n\r\n")
	s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + strings.Repeat("b", 10_000))
	testkit.Eventually(t, "the head is counted", func() bool { return r.Mux.Memory().Held()-before >= 10_000 })
	s.Gives("\r\n\r\n")
	r.over()
	if got := testkit.Receive(t, came); got.err != nil || len(got.answer.Header.Get("A")) != 10_000 {
		t.Errorf("outside comes %+v", got)
	}
	testkit.Eventually(t, "nothing is held", func() bool { return r.Mux.Memory().Held() == before })
}

// A client that takes nothing of a request has its time, and no more.
func TestRequestThatIsNotTaken(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	r.dialect.patience = 300 * time.Millisecond
	came := r.asks(t.Context(), "POST", strings.Repeat("x", 8<<20))
	r.Takes() // and nobody reads
	r.over()
	if got := testkit.Receive(t, came); got.err != nil || got.answer.StatusCode != 504 {
		t.Errorf("outside comes %+v", got)
	}
}

// Streams of events of one address leave connections for others.
func TestOneAddressHasHalfOfTheConnections(t *testing.T) {
	r := newBytesRig(t, 3, time.Second)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var streams []<-chan result
	for range 2 {
		streams = append(streams, r.asks(ctx, "GET", ""))
		s := r.Takes()
		r.reads("\r\n\r\n")
		s.Gives("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata:\n\n")
	}
	third := r.asks(t.Context(), "GET", "") // the same address: there is a connection, and not for it
	r.over()
	if got := testkit.Receive(t, third); got.err != nil || got.answer.StatusCode != 504 {
		t.Errorf("outside comes %+v", got)
	}
	other := r.dialect.services.Turn(netip.MustParsePrefix("192.0.2.1/32"))
	testkit.Receive(t, other.Come())
	other.GiveBack()
	giveUp()
	for range streams {
		r.over()
	}
	for _, stream := range streams {
		testkit.Receive(t, stream)
	}
}

// Trailers are filtered as headers are, announced or not, and have their bounds.
func TestTrailersAreBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		trailer string
		ok      bool
		left    int
	}{
		"a few":                  {"A: b\r\nC: d\r\n", true, 2},
		"too many":               {strings.Repeat("a:\r\n", messages.MaxAnswerFields+1), false, 0},
		"long":                   {"A: " + strings.Repeat("b", 3000) + "\r\n", true, 1}, // net/http reads no longer one
		"too long":               {strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 66), false, 0},
		"orders":                 {"x-accel-redirect: a\r\nX_Accel_Redirect: a\r\nX-ACCEL-Limit-Rate: 1\r\nx_sendfile: a\r\nX-Lighttpd_Send-File: a\r\nX-Reproxy-URL: a\r\nA: b\r\n", true, 1},
		"what frames or is ours": {"X_Forwarded_For: a\r\nSet_Cookie: a\r\nTransfer_Encoding: a\r\nContent_Length: 1\r\nProxy-Authorization: a\r\nA: b\r\n", true, 1},
	} {
		r := newBytesRig(t, 1, testkit.Patience)
		got := r.serves("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n" + tt.trailer + "\r\n")
		if tt.ok != (got.err == nil) || tt.ok && len(got.answer.Trailer) != tt.left {
			t.Errorf("%s: outside comes %+v", name, got)
		}
	}
}

// No byte of a service is in any line of the log.
func TestNothingOfAServiceIsLogged(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nsecret without a colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nsecret\r\n",
		"HTTP/1.1 secret\r\n\r\n",
		"HTTP/1.1 200 OK\r\nsecret\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: secret\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",
	} {
		var log bytes.Buffer
		r := newBytesRig(t, 1, testkit.Patience)
		r.gateway.settings.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r.serves(answer)
		r.front.Close() // what is logged is logged by then
		if strings.Contains(log.String(), "secret") {
			t.Errorf("%q: the log says %q", answer, &log)
		}
	}
}
