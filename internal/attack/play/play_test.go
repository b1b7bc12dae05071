package play

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The attacks are what they say: as many fields as that, and as large.
func TestFields(t *testing.T) {
	t.Parallel()
	tiny := tinyFields(10_900)
	if n := bytes.Count(tiny, []byte("\r\n")); n != 10_900 || len(tiny) > 64<<10 {
		t.Errorf("%d fields in %d bytes", n, len(tiny))
	}
	last, many := "", manyFields()
	for line := range strings.Lines(string(many)) {
		if len(line) != 7 || line <= last { // so no two are the same
			t.Fatalf("%q follows %q", line, last)
		}
		last = line
	}
	if len(many) < 10<<20 || endlessStep%7 != 0 {
		t.Errorf("%d bytes", len(many))
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte("{"+string(jsonFields(10_000))+"}"), &fields); err != nil || len(fields) != 10_000 {
		t.Errorf("%d names, %v", len(fields), err)
	}
}

func TestPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &playing{ctx: context.Background(), done: map[string]int{}}
		var calls, sum atomic.Int64
		begun := time.Now()
		p.paced(1000, 500, func(i int) { calls.Add(1); sum.Add(int64(i)) })
		if took := time.Since(begun); calls.Load() != 1000 || sum.Load() != 999*1000/2 || took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("%d calls in %v, want 1,000 in 2 s", calls.Load(), took)
		}
	})
}

func TestPacedEndsWithTheAttack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p := &playing{ctx: ctx, done: map[string]int{}}
		p.paced(1<<30, 100, func(int) { <-ctx.Done() })
		synctest.Wait()
	})
}

// A peer's turn comes again until it has got its share, and never when it has gone.
func TestPeerQueue(t *testing.T) {
	t.Parallel()
	q := &peerQueue{left: map[string]int{}}
	q.set("a", 3)
	q.set("b", 5)
	var got strings.Builder
	for id, n := q.next(2); id != ""; id, n = q.next(2) {
		got.WriteString(id + string(rune('0'+n)))
		if id == "b" {
			q.remove("b")
		}
	}
	if got.String() != "a2b2a1" {
		t.Errorf("the turns are %s", got.String())
	}
}
