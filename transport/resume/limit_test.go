package resume

import (
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A gate is a [wsock.Limiter] that lets nothing in until it is opened.
type gate struct{ open chan struct{} }

func (g gate) Await(way int, done <-chan struct{}) {
	if way == 0 {
		select {
		case <-g.open:
		case <-done:
		}
	}
}
func (gate) Passed(int, int) {}
func (gate) Close()          {}

// A client that its user's limit holds up in the middle of a message hears that the server
// is there, though its question stands behind that: else it would give its WebSocket up,
// and begin the message again, and so on.
func TestLimitedClientHearsOfTheServer(t *testing.T) {
	for _, unit := range []replay.Unit{replay.Bytes, replay.Messages} {
		t.Run(unit.Name(), func(t *testing.T) {
			r, g := newRig(t, unit), gate{make(chan struct{})}
			a := r.newClient()
			a.conn.Limit(g)
			if !r.session.Attach(a.conn) {
				t.Fatal("the session does not want its client")
			}
			r.session.Announce("token")
			if first, payload := a.read(); first != frameText {
				t.Fatalf("%#x %q came first", first, payload)
			}
			message := testkit.Frame(frameBin, a.message("hello"))
			a.write(message[:len(message)-1])
			for range 2 {
				a.wantKind(messages.KindPong)
			}
			if got := r.sink.text(); got != "" {
				t.Fatalf("%q has come", got)
			}
			close(g.open)
			a.write(message[len(message)-1:])
			testkit.Eventually(t, "the message has come", func() bool { return r.sink.text() == "hello" })
		})
	}
}
