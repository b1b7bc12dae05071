package replay

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// An explorer goes through all states of an instance, depth first.
type explorer struct {
	t     *testing.T
	seen  map[uint64]struct{}
	seed  maphash.Seed
	path  []action
	key   []byte
	rests int
	spare []*world
}

func (e *explorer) explore(w *world) {
	e.key = w.key(e.key[:0])
	hash := maphash.Bytes(e.seed, e.key)
	if _, seen := e.seen[hash]; seen {
		return
	}
	e.seen[hash] = struct{}{}
	actions := w.actions(make([]action, 0, 24))
	if !slices.ContainsFunc(actions, func(a action) bool { return a.progress }) {
		e.rests++
		w.rest()
		e.fail(w)
	}
	next := &world{}
	if n := len(e.spare); n > 0 {
		next, e.spare = e.spare[n-1], e.spare[:n-1]
	}
	for _, a := range actions {
		w.copyTo(next)
		e.path = append(e.path, a)
		next.do(a)
		e.fail(next)
		e.explore(next)
		e.path = e.path[:len(e.path)-1]
	}
	e.spare = append(e.spare, next)
}

func (e *explorer) fail(w *world) {
	if w.fault != "" {
		e.t.Fatal(told(w, e.path))
	}
}

// told tells how a fault came about.
func told(w *world, path []action) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\nafter %d steps:", w.fault, len(path))
	again := newWorld(w.setup)
	for i, a := range path {
		again.do(a)
		if i >= len(path)-12 {
			fmt.Fprintf(&text, "\n%d: %+v\n%s", i, a, again)
		}
	}
	return text.String()
}

// small are instances of which every state is visited.
var small = map[string]setup{
	"half-closes":               {down: 2, up: 1, first: 1, serverMax: 2, clientMax: 1, pool: 1, queue: 2, cuts: 1, grain: 2},
	"impatience":                {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, impatience: 1, grain: 1},
	"two losses":                {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 2, grain: 1},
	"a long way down":           {down: 4, up: 0, first: 2, serverMax: 2, clientMax: 3, queue: 2, cuts: 1, grain: 2},
	"a long way up":             {down: 0, up: 4, first: 1, serverMax: 3, clientMax: 1, pool: 2, queue: 2, cuts: 1, grain: 2, quiet: true},
	"messages":                  {unit: Messages, down: 3, up: 2, first: 2, serverMax: 2, clientMax: 2, queue: 2, cuts: 1, grain: 1, closes: true},
	"closed by the client":      {down: 1, up: 2, first: 1, serverMax: 2, clientMax: 1, pool: 1, queue: 2, cuts: 1, impatience: 1, grain: 1, closes: true},
	"left in the middle":        {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 2, cuts: 1, grain: 1, leaves: true},
	"gone away, given up":       {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, grain: 1, away: true, timeout: true, impatience: 1},
	"nobody reads":              {down: 2, up: 2, first: 2, serverMax: 2, clientMax: 2, queue: 1, cuts: 1, grain: 2, lazyPage: true, lazyTarget: true},
	"an echo that nobody reads": {down: 3, up: 3, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, grain: 1, lazyPage: true, echo: true},
	"a thief":                   {down: 1, up: 0, first: 1, serverMax: 1, clientMax: 1, queue: 1, grain: 1, thieves: 1},
}

func TestModelExhaustively(t *testing.T) {
	for name, s := range small {
		t.Run(name, func(t *testing.T) {
			e := explorer{t: t, seen: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
			e.explore(newWorld(&s))
			t.Logf("%d states, %d at rest", len(e.seen), e.rests)
		})
	}
}

// run takes random steps until nothing happens any more.
func run(t *testing.T, s *setup, seed uint64) (steps int) {
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(s)
	var path, actions []action
	for {
		actions = w.actions(actions[:0])
		if !slices.ContainsFunc(actions, func(a action) bool { return a.progress }) {
			if w.rest(); w.fault != "" {
				t.Fatalf("seed %d: %s", seed, told(w, path))
			}
			return steps
		}
		a := actions[random.IntN(len(actions))]
		if !a.progress && random.IntN(20) > 0 {
			continue
		}
		path = append(path, a)
		steps++
		if w.do(a); w.fault != "" {
			t.Fatalf("seed %d: %s", seed, told(w, path))
		}
	}
}

func TestModelAtRandom(t *testing.T) {
	s := setup{down: 40, up: 40, first: 4, serverMax: 12, clientMax: 7, pool: 6, queue: 3, cuts: 8, impatience: 3, grain: 3, quiet: true}
	total := 0
	for seed := uint64(0); total < 500_000; seed++ {
		total += run(t, &s, seed)
	}
}
