package e2e

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What a user's sessions pass in a second is bounded. Who has a word to say beside a
// flood is heard, pings come, and SIGHUP changes the bound under way.
func TestBytesPerSecond(t *testing.T) {
	t.Parallel()
	const rate = 256 << 10
	f := newSettings(t, "BLOCKED_TARGETS=none", "MAX_BYTES_PER_SECOND_PER_USER=256KiB")
	s := start(t, "CONFIG_FILE="+f.path, pingEvery(time.Second))
	word := open(t, s, relayPath(echoServer(t)))
	began := time.Now()
	flood := open(t, s, relayPath(floodServer(t)))
	var passed atomic.Int64
	var pings atomic.Int32
	answer := flood.PingHandler()
	flood.SetPingHandler(func(text string) error {
		pings.Add(1)
		return answer(text)
	})
	ended := make(chan error, 1)
	go func() {
		for {
			_, data, err := flood.ReadMessage()
			if err != nil {
				ended <- err
				return
			}
			passed.Add(int64(len(data)))
		}
	}()
	eventually(t, patience, "more than the burst, and a ping, has come", func() bool { return passed.Load() > 2*rate && pings.Load() > 0 })
	for range 5 {
		echoed(t, word, "beside the flood")
	}
	got, took := passed.Load(), time.Since(began)
	if most := rate + int64(took.Seconds()*rate) + 64<<10; got > most {
		t.Errorf("%d bytes have passed in %v, at most %d may", got, took, most)
	}
	f.reload(s, "BLOCKED_TARGETS=none")
	before := passed.Load()
	eventually(t, patience, "it runs without a bound", func() bool { return passed.Load() > before+32*rate })
	select {
	case err := <-ended:
		t.Errorf("the flood has ended with %v", err)
	default:
	}
	_ = flood.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
	if err := <-ended; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("the flood ends with %v", err)
	}
}
