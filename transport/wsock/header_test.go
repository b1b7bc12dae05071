package wsock

import (
	"bytes"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
)

// What the server sends is read by the other implementation, for every length
// at which the header changes and those that the buffer ends at.
func TestServerFramesAreReadByGorilla(t *testing.T) {
	lengths := []int{0, 1, 124, 125, 126, 127, 255, 256, 4096, BufferSize - ServerHeader - 1, BufferSize - ServerHeader}
	near, far := testkit.TCPPair(t)
	client := testkit.GorillaClient(t, near)
	go func() {
		for _, n := range lengths {
			var frame Buffer
			copy(frame[ServerHeader:], testkit.Pattern(n))
			start := PutHeader(frame[:], OpBinary, n)
			_, _ = far.Write(frame[start : ServerHeader+n])
			_, _ = far.Write(controlFrame(opPing, testkit.Pattern(min(n, maxControl))))
		}
		_, _ = far.Write(closeFrame(4321, "bye"))
	}()
	var pings []string
	client.SetPingHandler(func(text string) error { pings = append(pings, text); return nil })
	for _, n := range lengths {
		kind, p, err := client.ReadMessage()
		if err != nil {
			t.Fatalf("length %d: %v", n, err)
		}
		if kind != websocket.BinaryMessage || !bytes.Equal(p, testkit.Pattern(n)) {
			t.Errorf("length %d: kind %d, %d bytes", n, kind, len(p))
		}
	}
	_, _, err := client.ReadMessage()
	if closed, ok := err.(*websocket.CloseError); !ok || closed.Code != 4321 || closed.Text != "bye" {
		t.Errorf("the end is %v", err)
	}
	if len(pings) != len(lengths) {
		t.Errorf("%d pings of %d", len(pings), len(lengths))
	}
	for i, text := range pings {
		if text != string(testkit.Pattern(min(lengths[i], maxControl))) {
			t.Errorf("ping %d is %q", i, text)
		}
	}
}
