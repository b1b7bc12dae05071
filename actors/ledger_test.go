package actors

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"wsproxy/messages"
)

// A naiveLedger is the ledger as one would first write it: a list of who holds
// what, counted anew for each question.
type naiveLedger struct {
	bounds [messages.ClaimKinds]int
	held   []naiveEntry
}

type naiveEntry struct {
	holder string
	claim  messages.Claim
}

func (l *naiveLedger) count(c messages.Claim) (n int) {
	for _, e := range l.held {
		if e.claim == c {
			n++
		}
	}
	return n
}

// acquire tries the claims one by one and takes all back at the first that is
// too many.
func (l *naiveLedger) acquire(holder string, claims []messages.Claim) messages.Reason {
	before := slices.Clone(l.held)
	for _, c := range claims {
		if bound := l.bounds[c.Kind]; bound > 0 && l.count(c) >= bound {
			l.held = before
			return refusals[c.Kind]
		}
		l.held = append(l.held, naiveEntry{holder, c})
	}
	return ""
}

func (l *naiveLedger) release(holder string, claims []messages.Claim) {
	for _, c := range claims {
		if i := slices.Index(l.held, naiveEntry{holder, c}); i >= 0 {
			l.held = slices.Delete(l.held, i, i+1)
		}
	}
}

func (l *naiveLedger) end(holder string) {
	l.held = slices.DeleteFunc(l.held, func(e naiveEntry) bool { return e.holder == holder })
}

// ledgerClaims are few, so that random sequences meet.
var ledgerClaims = []messages.Claim{
	{Kind: messages.ClaimAddress, Source: netip.MustParsePrefix("192.0.2.1/32")},
	{Kind: messages.ClaimAddress, Source: netip.MustParsePrefix("2001:db8::/64")},
	{Kind: messages.ClaimUser, User: "ann"},
	{Kind: messages.ClaimUser, User: "bob"},
	{Kind: messages.ClaimLookup, Source: netip.MustParsePrefix("192.0.2.1/32")},
}

// runLedger reads a sequence of operations from script, makes them on a ledger
// and on the naive one, and compares the two after each.
func runLedger(t *testing.T, script []byte) {
	next := func() int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	var bounds [messages.ClaimKinds]int
	for i := range bounds {
		bounds[i] = next() % 4 // 0 is no limit
	}
	real, naive := newLedger(bounds), &naiveLedger{bounds: bounds}
	for step := 0; len(script) > 0; step++ {
		op, holder := next()%6, fmt.Sprint("holder-", next()%4)
		claims := make([]messages.Claim, next()%4)
		for i := range claims {
			claims[i] = ledgerClaims[next()%len(ledgerClaims)]
		}
		switch op {
		case 0, 1, 2:
			want := naive.acquire(holder, claims)
			got := real.judge(claims)
			if got != want {
				t.Fatalf("step %d: %s asks for %v: %q, want %q", step, holder, claims, got, want)
			}
			if got == "" {
				isNew := len(real.held[holder]) == 0
				if first := real.grant(holder, claims); first != isNew {
					t.Fatalf("step %d: the grant says that a new holder is %v, want %v", step, first, isNew)
				}
			}
		case 3, 4:
			naive.release(holder, claims)
			real.release(holder, claims)
		case 5:
			naive.end(holder)
			real.end(holder)
		}
		compareLedgers(t, step, real, naive)
	}
}

func compareLedgers(t *testing.T, step int, real *ledger, naive *naiveLedger) {
	t.Helper()
	units := 0
	for _, c := range ledgerClaims {
		want := naive.count(c)
		units += want
		if got := real.taken[c]; got != want {
			t.Fatalf("step %d: %v is taken %d times, want %d", step, c, got, want)
		}
		if _, kept := real.taken[c]; kept && want == 0 {
			t.Fatalf("step %d: %v is kept in the table though nobody holds it: the table would grow for ever", step, c)
		}
	}
	for _, held := range real.held {
		units -= len(held)
	}
	if units != 0 {
		t.Fatalf("step %d: the holders' lists and the counts differ by %d", step, units)
	}
}

func TestLedgerAgreesWithANaiveOne(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 400)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		runLedger(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 1, 0, 0, 2, 0, 0, 0, 1, 1, 0})          // the same claim twice in one request
	f.Add([]byte{2, 2, 2, 0, 0, 2, 0, 2, 3, 0, 1, 0, 5, 0, 0}) // acquire, release a part, end
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 3, 1, 1, 0, 0, 1, 1, 0}) // release what another holds
	f.Fuzz(runLedger)
}

func TestLedgerDoesNotKeepTheCallersSlice(t *testing.T) {
	l := newLedger([messages.ClaimKinds]int{})
	claims := []messages.Claim{ledgerClaims[0], ledgerClaims[2]}
	l.grant("a", claims)
	claims[0] = ledgerClaims[1] // the message may be used again by who sent it
	l.end("a")
	if len(l.taken) != 0 {
		t.Errorf("still taken: %v", l.taken)
	}
}
