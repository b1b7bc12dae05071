package e2e

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// A deployLoad asks for a tunnel through a front proxy, all the time.
type deployLoad struct {
	answered atomic.Int64
	stop     chan struct{}
	all      sync.WaitGroup
	end      func() // returns when no request is under way
}

// startDeployLoad starts one, which ends with the test. The test fails with the first
// request that does.
func startDeployLoad(t *testing.T, f *front, root string) *deployLoad {
	t.Helper()
	l := &deployLoad{stop: make(chan struct{})}
	l.end = sync.OnceFunc(func() {
		close(l.stop)
		l.all.Wait()
	})
	t.Cleanup(l.end)
	for range 2 {
		client := f.client(t)
		l.all.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := ask200(client, root+"/who"); err != nil {
					t.Errorf("after %d requests: %v", l.answered.Load(), err)
					return
				}
				l.answered.Add(1)
				pause()
			}
		})
	}
	return l
}

func ask200(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered %s %q, %v", url, response.Status, body, err)
	}
	return nil
}

// wantMore waits until n more requests are answered.
func (l *deployLoad) wantMore(t *testing.T, n int64) {
	t.Helper()
	before := l.answered.Load()
	eventually(t, patience, "more requests are answered", func() bool { return l.answered.Load() >= before+n })
}
