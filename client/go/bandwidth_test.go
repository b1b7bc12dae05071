package wsproxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

// zeros are read without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted counts what is copied to it.
type counted struct{ atomic.Int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

// What relays and tunnels of one user pass in a second is bounded, each way, and each of
// them has its part. The sessions that outlive their WebSocket, and others.
func TestBytesPerSecondOfAUser(t *testing.T) {
	const rate = 2 << 20
	for name, plain := range ways {
		t.Run(name, func(t *testing.T) {
			address := newTunnelServer(t, "MAX_BYTES_PER_SECOND_PER_USER=2MiB")
			server := Server{URL: "ws://" + address, NoResume: plain}
			target := listen(t)
			one, oneFar := dial(t, server, target)
			other, otherFar := dial(t, server, target)
			r := openTunnel(t, address, ListenOptions{Server: Server{NoResume: plain}})
			var up, down [3]counted // from clients, and to them: of two relays and a tunnel
			r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex()
				var both sync.WaitGroup
				both.Go(func() { _, _ = io.Copy(&down[2], r.Body) })
				_, _ = io.Copy(w, zeros{})
				both.Wait()
			}))
			began := time.Now()
			var all sync.WaitGroup
			for i, pair := range []struct{ near, far io.ReadWriter }{{one, oneFar}, {other, otherFar}} {
				all.Go(func() { _, _ = io.Copy(pair.near, zeros{}) })
				all.Go(func() { _, _ = io.Copy(pair.far, zeros{}) })
				all.Go(func() { _, _ = io.Copy(&up[i], pair.far) })
				all.Go(func() { _, _ = io.Copy(&down[i], pair.near) })
			}
			request, err := http.NewRequestWithContext(t.Context(), "POST", r.url("/"), zeros{})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := r.outside.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() { _, _ = io.Copy(&up[2], answer.Body) })
			testkit.Eventually(t, "enough has passed", func() bool {
				return up[0].Load()+up[1].Load()+up[2].Load() > 3*rate && down[0].Load()+down[1].Load()+down[2].Load() > 3*rate
			})
			for way, passed := range map[string]*[3]counted{"from clients": &up, "to clients": &down} {
				sum := passed[0].Load() + passed[1].Load() + passed[2].Load()
				took := time.Since(began)
				if most := int64(float64(rate)*took.Seconds()) + rate + 3*64<<10; sum > most {
					t.Errorf("%s %d bytes have passed in %v, at most %d may", way, sum, took, most)
				}
				for i := range passed {
					if n := passed[i].Load(); n < sum/20 { // with few processors a tunnel has not always something to send when it may
						t.Errorf("%s the one numbered %d has %d bytes of %d", way, i, n, sum)
					}
				}
			}
			// Who has a word to say is heard in spite of that: a session closes in order.
			answer.Body.Close()
			_ = one.Reset()
			_ = other.Reset()
			oneFar.Close()
			otherFar.Close()
			r.http.Close()
			all.Wait()
		})
	}
}
