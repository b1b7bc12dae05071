package forward

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock"
)

// Many bodies and long headers for a client that doesn't read, and many answers
// of another one that outside clients don't read: what is held never exceeds
// what it may, and comes back whole.
func TestMemoryOfManyBodiesIsBoundedAndComesBack(t *testing.T) {
	const total = 8 << 20
	h := newHouse(t, total, time.Second)
	address := h.Address
	deaf, deafHost := h.Open(t)
	busy, busyHost := h.Open(t)
	go func() {
		body := strings.Repeat("a", 1<<20)
		for {
			var m struct{ Type, ID string }
			if busy.ReadJSON(&m) != nil {
				return
			}
			_ = busy.WriteMessage(websocket.TextMessage, []byte(`{"type":"http_response","id":"`+m.ID+`","status":200,"body":"`+body+`"}`))
		}
	}()

	// The tunnels of one user have half of it. Each may exceed its part by what its
	// reader has read when it sees that there is no more.
	const most = total/2 + 2*wsock.BufferSize
	stop, highest := make(chan struct{}), make(chan int64)
	go func() {
		var high int64
		look := time.NewTicker(100 * time.Microsecond)
		defer look.Stop()
		for {
			select {
			case <-stop:
				highest <- high
				return
			case <-look.C:
				high = max(high, h.Memory.Held())
			}
		}
	}()

	var all sync.WaitGroup
	statuses := make(chan int, 1<<10)
	ask := func(ctx context.Context, host string, body io.Reader) (status int) {
		r, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/", body)
		if err != nil {
			t.Error(err)
		}
		r.Host = host
		r.Header.Set("X-Long", strings.Repeat(`"`, 30<<10))
		if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
			status = answer.StatusCode // its body is not read
			statuses <- status
		}
		return status
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 10 { // while there is memory for its answer for certain; a busy machine may need longer than is waited
		if ask(ctx, busyHost, nil) == http.StatusOK {
			break
		}
	}
	for i := range 16 {
		all.Go(func() {
			for j := range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				switch {
				case i%8 == 0:
					ask(ctx, busyHost, nil)
				case (i+j)%2 == 0:
					ask(ctx, deafHost, strings.NewReader(strings.Repeat("b", 1<<20-i<<10)))
				default:
					ask(ctx, deafHost, nil)
				}
				cancel()
			}
		})
	}
	all.Wait()
	cancel()
	seen := map[int]int{}
	for range len(statuses) {
		seen[<-statuses]++
	}
	if seen[504] == 0 || seen[200] == 0 {
		t.Errorf("the answers are %v", seen)
	}
	testkit.Eventually(t, "what nobody waits for comes back", func() bool {
		return h.Memory.Held() <= 2<<20 // the frame that is being written
	})
	close(stop)
	if high := testkit.Receive(t, highest); high > most {
		t.Errorf("%d bytes were held, %d may be", high, most)
	} else if high < total/8 {
		t.Errorf("no more than %d bytes were held", high)
	}
	deaf.Close()
	busy.Close()
	testkit.Eventually(t, "all of it comes back", func() bool { return h.Memory.Held() == 0 })
}
