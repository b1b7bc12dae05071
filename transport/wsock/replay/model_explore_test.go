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
		if i >= len(path)-8 {
			fmt.Fprintf(&text, "\n%d: %+v\n%s", i, a, again)
		}
	}
	return text.String()
}

// small are instances of which every state is visited.
var small = map[string]setup{
	"half-closes":               {down: 2, up: 1, first: 1, serverMax: 2, clientMax: 1, pool: 1, queue: 2, cuts: 1, grain: 2},
	"impatience":                {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, impatience: 1, grain: 1, prompt: true},
	"three losses":              {down: 0, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 3, grain: 1, prompt: true},
	"a long way down":           {down: 3, up: 0, first: 2, serverMax: 2, clientMax: 3, queue: 1, cuts: 2, grain: 2, prompt: true},
	"a long way up":             {down: 0, up: 3, first: 1, serverMax: 3, clientMax: 1, pool: 2, queue: 2, cuts: 1, grain: 2, quiet: true, prompt: true},
	"both ways":                 {down: 2, up: 2, first: 2, serverMax: 2, clientMax: 2, queue: 2, cuts: 1, grain: 2, prompt: true},
	"messages":                  {unit: Messages, down: 3, up: 2, first: 2, serverMax: 2, clientMax: 2, queue: 2, cuts: 1, grain: 1, closes: true, prompt: true},
	"closed by the client":      {down: 1, up: 2, first: 1, serverMax: 2, clientMax: 1, pool: 1, queue: 2, cuts: 1, impatience: 1, grain: 1, closes: true, prompt: true},
	"left in the middle":        {down: 1, up: 1, first: 1, serverMax: 1, clientMax: 1, queue: 2, cuts: 1, grain: 1, leaves: true, prompt: true},
	"gone away, given up":       {down: 1, up: 0, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, grain: 1, away: true, timeout: true, impatience: 1, prompt: true},
	"nobody reads":              {down: 2, up: 2, first: 2, serverMax: 2, clientMax: 2, queue: 1, cuts: 1, grain: 2, lazyPage: true, lazyTarget: true, prompt: true},
	"an echo that nobody reads": {down: 3, up: 3, first: 1, serverMax: 1, clientMax: 1, queue: 1, cuts: 1, grain: 1, lazyPage: true, echo: true},
	"a thief":                   {down: 1, up: 0, first: 1, serverMax: 1, clientMax: 1, queue: 1, grain: 1, thieves: 1, prompt: true},
}

func TestModelExhaustively(t *testing.T) {
	t.Parallel()
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

// large are instances that are walked through at random.
var large = map[string]setup{
	"small windows": {down: 40, up: 40, first: 4, serverMax: 12, clientMax: 7, pool: 6, queue: 3, cuts: 8, impatience: 3, grain: 3, quiet: true, away: true},
	"windows as they are": {down: 3 << 20, up: 3 << 20, first: firstBytes, serverMax: 1 << 20, clientMax: 1 << 20, pool: 1 << 19, queue: 6,
		cuts: 12, impatience: 5, grain: 40_000, pieces: 50_000, quiet: true, away: true},
	"messages":              {unit: Messages, down: 400, up: 400, first: firstMessages, serverMax: 200, clientMax: 100, pool: 1000, queue: 5, cuts: 8, impatience: 3, grain: 9, pieces: 20, closes: true},
	"an echo, nobody reads": {down: 21, up: 21, first: 8, serverMax: 8, clientMax: 12, queue: 2, cuts: 8, impatience: 3, grain: 4, lazyPage: true, echo: true},
	"nobody reads":          {down: 20, up: 10, first: 10, serverMax: 10, clientMax: 20, queue: 1, cuts: 8, impatience: 3, grain: 4, lazyPage: true, lazyTarget: true},
	"left or given up":      {down: 40, up: 40, first: 4, serverMax: 8, clientMax: 7, pool: 6, queue: 3, cuts: 4, impatience: 3, grain: 3, leaves: true, timeout: true},
	"thieves":               {down: 40, up: 40, first: 4, serverMax: 12, clientMax: 7, pool: 6, queue: 3, cuts: 4, impatience: 9, grain: 3, quiet: true, thieves: 4},
}

// randomSteps are taken in each of these, at least.
const randomSteps = 200_000

func TestModelAtRandom(t *testing.T) {
	t.Parallel()
	for name, s := range large {
		t.Run(name, func(t *testing.T) {
			steps, seed := 0, uint64(0)
			for ; steps < randomSteps; seed++ {
				steps += run(t, &s, seed)
			}
			t.Logf("%d sessions", seed)
		})
	}
}
