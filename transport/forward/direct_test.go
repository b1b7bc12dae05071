package forward

import (
	"fmt"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
)

// A long body, which goes past net/http, comes outside whole and alone. Its connection
// serves the next request, but not if there was something behind it.
func TestBytesLongBody(t *testing.T) {
	const size = 200_000
	body := string(testkit.Pattern(size))
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
	r := newBytesRig(t, 1, testkit.Patience)
	var s *tunnelrig.Stream
	for i, behind := range []string{"", "", "HTTP/1.1 200 OK\r\n\r\n", ""} {
		came := r.asks(t.Context(), "GET", "")
		if i == 0 || i == 3 {
			s = r.Takes()
		}
		r.reads("\r\n\r\n")
		s.Gives(head + body[:100])
		s.Gives(body[100:60_000])
		s.Gives(body[60_000:130_000])
		s.Gives(body[130_000:] + behind)
		r.over()
		if behind != "" {
			r.Reads() // its end
		}
		if got := testkit.Receive(t, came); got.err != nil || got.body != body {
			t.Fatalf("answer %d: %d bytes come outside: %v", i, len(got.body), got.err)
		}
		if idle := testkit.Receive(t, r.dialect.idle); (idle == 0) != (i == 0 || i == 3) {
			t.Errorf("answer %d: the connection was idle for %s", i, idle)
		}
	}
}

// One that is cut does not look whole outside.
func TestBytesLongBodyThatIsCut(t *testing.T) {
	for name, end := range map[string]func(*tunnelrig.Stream){
		"an end":  func(s *tunnelrig.Stream) { s.EndWrite() },
		"a reset": func(s *tunnelrig.Stream) { s.Abort(messages.CloseClientReset) },
	} {
		r := newBytesRig(t, 1, testkit.Patience)
		came := r.asks(t.Context(), "GET", "")
		s := r.Takes()
		r.reads("\r\n\r\n")
		s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegins")
		s.Gives(string(testkit.Pattern(50_000)))
		end(s)
		r.over()
		if got := testkit.Receive(t, came); got.err == nil {
			t.Errorf("%s: outside come %d bytes, and an end", name, len(got.body))
		}
	}
}
