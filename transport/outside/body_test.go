package outside

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

// chunks are what a body comes in: one at a time, or several that have come together.
type chunks struct {
	come   [][][]byte // what has come together
	end    error      // behind all
	passed [][]byte
	onWait func() // called before Next waits; may be nil
}

func (c *chunks) Next() ([]byte, error) {
	for len(c.come) > 0 && len(c.come[0]) == 0 {
		if c.onWait != nil {
			c.onWait()
		}
		c.come = c.come[1:]
	}
	if len(c.come) == 0 {
		return nil, c.end
	}
	chunk := c.come[0][0]
	c.come[0] = c.come[0][1:]
	return chunk, nil
}

func (c *chunks) Waits() bool         { return len(c.come) > 0 && len(c.come[0]) == 0 }
func (c *chunks) Passed(chunk []byte) { c.passed = append(c.passed, chunk) }

// A taker is a client that takes so many bytes.
type taker struct {
	http.ResponseWriter
	got    bytes.Buffer
	writes int
	room   int
}

func (w *taker) Write(p []byte) (int, error) {
	w.writes++
	n := min(len(p), w.room-w.got.Len())
	w.got.Write(p[:n])
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// Whatever a body comes in, the client gets it and nothing else, each chunk comes back
// once it was written, and the one with more in it is the caller's.
func TestBodyIsPassedWhole(t *testing.T) {
	late := errors.New("late")
	const size = 300_000
	all := testkit.Pattern(size + 10)
	cut := func(sizes ...int) (parts [][]byte) {
		rest := all
		for _, n := range sizes {
			parts = append(parts, rest[:n:n])
			rest = rest[n:]
		}
		return append(parts, rest)
	}
	for name, tt := range map[string]struct {
		come      [][][]byte
		left      int64
		end       error
		room      int
		got, rest int
		err       error
	}{
		"one chunk":             {[][][]byte{cut()}, size, late, size, size, 10, nil},
		"chunks by themselves":  {[][][]byte{cut(size - 1000)[:1], cut(size-1000, 1000)[1:2]}, size, late, size, size, 0, nil},
		"many together":         {[][][]byte{cut(1, 2, 40_000, 60_000, 100_000, 3)}, size, late, size, size, 10, nil},
		"more behind the end":   {[][][]byte{cut(size/2, size/2)}, size, late, size, size, 0, nil},
		"an end in the middle":  {[][][]byte{cut(5000, 3000)[:2]}, size, io.EOF, size, 8000, 0, io.EOF},
		"an end at once":        {nil, size, late, size, 0, 0, late},
		"a client that is gone": {[][][]byte{cut(5000, 3000)}, size, late, 6000, 6000, 10, ErrGone},
	} {
		from := &chunks{come: tt.come, end: tt.end}
		handed := 0
		for _, together := range tt.come {
			handed += len(together)
		}
		w := &taker{ResponseWriter: httptest.NewRecorder(), room: tt.room}
		b := Body{Left: tt.left, Chunks: from, Patience: NewPatience(w, httptest.NewRequest("GET", "/", nil), time.Minute)}
		chunk, rest, err := b.Pass(w)
		if !errors.Is(err, tt.err) || len(rest) != tt.rest || !bytes.Equal(w.got.Bytes(), all[:tt.got]) {
			t.Errorf("%s: %d bytes are passed on and %d left, want %d and %d: %v", name, w.got.Len(), len(rest), tt.got, tt.rest, err)
		}
		left := 0
		for _, together := range from.come {
			left += len(together)
		}
		if kept := 0; chunk != nil {
			kept++
			handed -= kept
		}
		if len(from.passed) != handed-left {
			t.Errorf("%s: %d chunks came back of %d", name, len(from.passed), handed-left)
		}
	}
}

// Nothing that has come waits for what has not; and who sends hears early enough that
// it may go on.
func TestBodyIsWrittenAsItComes(t *testing.T) {
	small, large := testkit.Pattern(100), testkit.Pattern(40_000)
	w := &taker{ResponseWriter: httptest.NewRecorder(), room: 1 << 20}
	var atWait []int
	from := &chunks{come: [][][]byte{{small, small}, {large, large, large}, {small}}, end: io.EOF}
	from.onWait = func() { atWait = append(atWait, w.got.Len()) }
	var passedAt []int
	b := Body{Left: 120_300, Chunks: observedChunks{from, func() { passedAt = append(passedAt, w.got.Len()) }},
		Patience: NewPatience(w, httptest.NewRequest("GET", "/", nil), time.Minute)}
	if _, _, err := b.Pass(w); err != nil {
		t.Fatal(err)
	}
	if len(atWait) != 2 || atWait[0] != 200 || atWait[1] != 120_200 {
		t.Errorf("when it waits %v bytes were written", atWait)
	}
	if want := []int{200, 200, 80_200, 80_200, 120_200, 120_300}; len(passedAt) != len(want) || passedAt[2] != want[2] {
		t.Errorf("chunks came back when %v bytes were written, want %v", passedAt, want)
	}
}

type observedChunks struct {
	*chunks
	passed func()
}

func (c observedChunks) Passed(chunk []byte) { c.passed(); c.chunks.Passed(chunk) }

// A body goes to the connection past net/http, behind its head, in fewer pieces than it
// has come in.
func TestBodyPassesNetHTTP(t *testing.T) {
	const chunk, n = 10_000, 30
	all := testkit.Pattern(chunk * n)
	var come [][]byte
	for i := range n {
		come = append(come, all[i*chunk:(i+1)*chunk])
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "300000")
		observed := Observe(w)
		observed.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(observed).Flush()
		b := Body{Left: int64(len(all)), Chunks: &chunks{come: [][][]byte{come}, end: io.EOF}, Patience: NewPatience(w, r, time.Minute)}
		if _, _, err := b.Pass(observed); err != nil {
			t.Error(err)
		}
		if len(b.out) != 0 || b.Left != 0 {
			t.Errorf("%d bytes are left", b.Left)
		}
	}))
	defer server.Close()
	for range 2 { // over one connection
		answer, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !bytes.Equal(got, all) {
			t.Fatalf("%d bytes of %d have come: %v", len(got), len(all), err)
		}
	}
}

// However many chunks a body has, nothing is allocated for them.
func TestBodyCostsNoAllocationsByChunk(t *testing.T) {
	piece := testkit.Pattern(20_000)
	w := &taker{ResponseWriter: httptest.NewRecorder(), room: math.MaxInt}
	patience := &Patience{time: time.Hour, outside: &Conn{}} // which is never looked at
	from := &chunks{}
	pass := func(n int) float64 {
		together := make([][]byte, n)
		from.passed = make([][]byte, 0, n)
		return testing.AllocsPerRun(10, func() {
			for i := range together {
				together[i] = piece
			}
			from.come, from.passed = append(from.come[:0], together), from.passed[:0]
			w.got.Reset()
			w.got.Grow(n * len(piece))
			b := Body{Left: int64(n * len(piece)), Chunks: from, Patience: patience}
			if _, err := b.WriteTo(w); err != nil {
				t.Fatal(err)
			}
		})
	}
	pass(500)
	if few, many := pass(20), pass(500); many > few+1 {
		t.Errorf("500 chunks cost %.0f allocations, 20 cost %.0f", many, few)
	}
}
