package forward

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"context"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// Interim answers have the bounds of others, and a number: the library counts
// those that a proxy asks for not at all.
func TestInterimAnswersAreBounded(t *testing.T) {
	tiny := "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("a:\r\n", messages.MaxAnswerFields+1) + "\r\n"
	for name, tt := range map[string]struct {
		head string
		want int
	}{
		"a few":          {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5), 200},
		"too many":       {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload; as=style; padding="+strings.Repeat("x", 400)+"\r\n\r\n", 40), 502},
		"one, too large": {strings.Repeat(tiny, 10), 502},
	} {
		r := newBytesRig(t, 1, testkit.Patience)
		got := r.serves(tt.head + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		if got.err != nil || got.answer.StatusCode != tt.want {
			t.Errorf("%s: outside comes %+v", name, got)
		}
		if tt.want == 502 && (len(r.meter.refused) != 1 || r.meter.refused[0] != messages.ReasonAnswerHeaders) {
			t.Errorf("%s: it is counted as %q", name, r.meter.refused)
		}
	}
}

// What a tunnel's service may have an answer's head take, and what that takes in
// the end, is memory of the tunnel.
func TestAnswerHeadIsCounted(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	before := r.Mux.Memory().Held()
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	came := r.asks(ctx, "GET", "")
	s := r.Takes()
	r.reads("\r\n\r\n")
	if held := r.Mux.Memory().Held() - before; held != answerRoom {
		t.Errorf("%d bytes are held before the head", held)
	}
	s.Gives("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 10_000) + "\r\n\r\nx")
	testkit.Eventually(t, "the head is counted", func() bool {
		held := r.Mux.Memory().Held() - before
		return held >= 10_000 && held < 11_000
	})
	giveUp()
	r.over()
	testkit.Receive(t, came)
	testkit.Eventually(t, "nothing is held", func() bool { return r.Mux.Memory().Held() == before })
}

// A client that takes nothing of a request has its time, and no more.
func TestRequestThatIsNotTaken(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	r.dialect.carrier.transport.CloseIdleConnections()
	r.dialect.carrier = NewCarrier(func() CarrierSettings {
		s := r.dialect.carrier.settings
		s.Timeout = 300 * time.Millisecond
		return s
	}())
	t.Cleanup(r.dialect.carrier.transport.CloseIdleConnections)
	came := r.asks(t.Context(), "POST", strings.Repeat("x", 8<<20))
	r.Takes() // and nobody reads
	r.over()
	if got := testkit.Receive(t, came); got.err != nil || got.answer.StatusCode != 504 {
		t.Errorf("outside comes %+v", got)
	}
}

// One address has half of the connections. Whoever waits beyond that goes on in
// turn, and what gives up waiting takes nothing along.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShares(2)
		one, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
		var held []func()
		for _, source := range []netip.Prefix{one, one, other} {
			giveBack, ok := s.take(t.Context(), source)
			if !ok {
				t.Fatal("there is no turn")
			}
			held = append(held, giveBack)
		}
		var order []string
		waits := func(ctx context.Context, name string) {
			go func() {
				if giveBack, ok := s.take(ctx, one); ok {
					order = append(order, name)
					giveBack()
				} else {
					order = append(order, "not "+name)
				}
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits(ctx, "a")
		waits(t.Context(), "b")
		waits(t.Context(), "c")
		cancel()
		synctest.Wait()
		held[2]() // another address's
		synctest.Wait()
		held[0]()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[not a b c]" {
			t.Errorf("the order is %s", got)
		}
		held[1]()
		if len(s.sources) != 0 {
			t.Errorf("%d addresses are remembered", len(s.sources))
		}
	})
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
	other := netip.MustParsePrefix("192.0.2.1/32")
	giveBack, ok := r.dialect.carrier.shares.take(t.Context(), other)
	if !ok {
		t.Fatal("another address has no turn")
	}
	giveBack()
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
		"too long for a buffer":  {"A: " + strings.Repeat("b", 10_000) + "\r\n", false, 0},
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
