package transport

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/refused"
)

// refusedTakeUps counts them. It is a Recorder.
type refusedTakeUps chan messages.Reason

func (r refusedTakeUps) Refused(no refused.Refusal) { r <- no.Reason }

// Who is refused a session, and doesn't leave, keeps nobody from the listener.
func TestRefusedTakeUpsGiveWay(t *testing.T) {
	const most = 3
	reasons := make(refusedTakeUps, most+1) // and of the one that gives way
	d := newDesk(t, func(c *Config) { c.MaxConns, c.Refused = most, reasons })
	address, _ := d.listen(t)
	text := strings.Replace(handshakeText, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: wsproxy.resume, resume.abc.def\r\n\r\n", 1)
	for range most {
		conn := bufio.NewReader(dialText(t, address, text))
		if answer, err := http.ReadResponse(conn, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", answer, err)
		}
		if reason := testkit.Receive(t, reasons); reason != messages.ReasonNoSession {
			t.Errorf("refused for %s", reason)
		}
		if first, payload, err := testkit.ReadFrame(conn); first != 0x88 || err != nil {
			t.Fatalf("%#x %q %v", first, payload, err)
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(dialText(t, address, "GET /health HTTP/1.1\r\nHost: proxy\r\n\r\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); string(body) != "ok" {
		t.Errorf("%q", body)
	}
}
