package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A naiveLedger is the ledger as one would first write it: a list of who holds
// what and one of who waits for what, gone through anew for each question.
type naiveLedger struct {
	bounds  [messages.ClaimKinds]int
	held    []naiveEntry
	waiting []naiveWaiting
}

type naiveWaiting struct {
	holder string
	claims []messages.Claim
	tag    string
}

type naiveEntry struct {
	holder string
	claim  messages.Claim
}

func isWithin(c, of messages.Claim, network netip.Prefix) bool {
	return c.Kind == of.Kind && c.Tunnel == of.Tunnel && c.Source.Bits() >= network.Bits() && network.Contains(c.Source.Addr())
}

// exceeds reports whether a list has as many of a claim as its bound, or of
// claims of its /48 as four times that.
func (l *naiveLedger) exceeds(list []naiveEntry, c messages.Claim, factor int) bool {
	same, around := 0, 0
	network, _ := c.Source.Addr().Prefix(48)
	for _, e := range list {
		if e.claim == c {
			same++
		}
		if c.Source.Addr().Is6() && isWithin(e.claim, c, network) {
			around++
		}
	}
	bound := factor * l.bounds[c.Kind]
	return bound > 0 && (same >= bound || around >= 4*bound)
}

// acquire tries the claims one by one and takes all back at the first that is
// too many.
func (l *naiveLedger) acquire(holder string, claims []messages.Claim) messages.Reason {
	before := slices.Clone(l.held)
	for _, c := range claims {
		if l.exceeds(l.held, c, 1) {
			l.held = before
			return refusals[c.Kind]
		}
		l.held = append(l.held, naiveEntry{holder: holder, claim: c})
	}
	return ""
}

// wait reports whether claims wait for their turn.
func (l *naiveLedger) wait(holder, tag string, claims []messages.Claim) bool {
	one := len(claims) == 1 && claims[0].Kind == messages.ClaimHTTP
	two := len(claims) == 2 && claims[0].Kind == messages.ClaimHTTP && claims[1].Kind == messages.ClaimHTTPTunnel &&
		claims[0].Source == claims[1].Source
	if !one && !two {
		return false
	}
	var waiting []naiveEntry
	for _, w := range l.waiting {
		for _, c := range w.claims {
			waiting = append(waiting, naiveEntry{w.holder, c})
		}
	}
	for _, c := range claims {
		if l.exceeds(waiting, c, 4) {
			return false
		}
	}
	l.waiting = append(l.waiting, naiveWaiting{holder, claims, tag})
	return true
}

// admit grants whatever can be granted of what waits.
func (l *naiveLedger) admit() (tags []string) {
	for i := 0; i < len(l.waiting); {
		e := l.waiting[i]
		if l.acquire(e.holder, e.claims) != "" {
			i++
			continue
		}
		tags = append(tags, e.tag)
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return tags
}

func (l *naiveLedger) release(holder string, claims []messages.Claim) {
	for _, c := range claims {
		if i := slices.Index(l.held, naiveEntry{holder: holder, claim: c}); i >= 0 {
			l.held = slices.Delete(l.held, i, i+1)
		}
	}
}

func (l *naiveLedger) end(holder string) {
	l.held = slices.DeleteFunc(l.held, func(e naiveEntry) bool { return e.holder == holder })
	l.waiting = slices.DeleteFunc(l.waiting, func(w naiveWaiting) bool { return w.holder == holder })
}

// ledgerClaims are few, so that random sequences meet.
var ledgerClaims = []messages.Claim{
	{Kind: messages.ClaimAddress, Source: netip.MustParsePrefix("192.0.2.1/32")},
	{Kind: messages.ClaimAddress, Source: netip.MustParsePrefix("2001:db8::/64")},
	{Kind: messages.ClaimUser, User: "ann"},
	{Kind: messages.ClaimUser, User: "bob"},
	{Kind: messages.ClaimLookup, Source: netip.MustParsePrefix("192.0.2.1/32")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("192.0.2.1/32")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:0:1::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:0:2::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:0:3::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:0:4::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:0:5::/64")},
	{Kind: messages.ClaimHTTP, Source: netip.MustParsePrefix("2001:db8:1::/64")},
	{Kind: messages.ClaimRawAddress, Source: netip.MustParsePrefix("192.0.2.1/32"), Tunnel: "t"},
	{Kind: messages.ClaimRawTunnel, Tunnel: "t"},
	{Kind: messages.ClaimRawUser, User: "ann"},
}

// requestClaims are what requests ask for: of the sources of ledgerClaims, in two
// tunnels.
func requestClaims(n int) []messages.Claim {
	var sources []messages.Claim
	for _, c := range ledgerClaims {
		if c.Kind == messages.ClaimHTTP {
			sources = append(sources, c)
		}
	}
	c := sources[n/2%len(sources)]
	return []messages.Claim{c, {Kind: messages.ClaimHTTPTunnel, Source: c.Source, Tunnel: "tu"[n%2 : n%2+1]}}
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
	real, naive := New(bounds), &naiveLedger{bounds: bounds}
	for step := 0; len(script) > 0; step++ {
		op, holder := next()%8, fmt.Sprint("holder-", next()%4)
		claims := make([]messages.Claim, next()%4)
		for i := range claims {
			claims[i] = ledgerClaims[next()%len(ledgerClaims)]
		}
		if op%2 == 1 { // a request
			claims = requestClaims(next())
		}
		switch op {
		case 0, 1, 2, 3:
			want := naive.acquire(holder, claims)
			got := real.Judge(claims)
			if got != want {
				t.Fatalf("step %d: %s asks for %v: %q, want %q", step, holder, claims, got, want)
			}
			if got == "" {
				real.Grant(holder, claims)
				break
			}
			tag := fmt.Sprint(step)
			waits := real.MayWait(holder, tag, claims)
			if want := naive.wait(holder, tag, claims); waits != want {
				t.Fatalf("step %d: that %v may wait is %v, want %v", step, claims, waits, want)
			}
			if waits {
				real.Wait(&Waiting{Holder: &actor.PID{Id: holder}, Claims: claims, Tag: tag})
			}
		case 4, 5:
			naive.release(holder, claims)
			real.Release(holder, claims)
			compareAdmitted(t, step, real.Admit(claims), naive.admit())
		case 6:
			naive.end(holder)
			real.Forsake(holder)
			compareAdmitted(t, step, real.Admit(real.End(holder)), naive.admit())
		case 7:
			if i := next(); len(naive.waiting) > 0 {
				e := naive.waiting[i%len(naive.waiting)]
				naive.waiting = slices.Delete(naive.waiting, i%len(naive.waiting), i%len(naive.waiting)+1)
				real.queue.remove(real.queue.of[e.holder][e.tag])
			}
		}
		compareLedgers(t, step, real, naive)
	}
}

// compareAdmitted fails unless the same were admitted, and in order of arrival
// within each network.
func compareAdmitted(t *testing.T, step int, admitted []*Waiting, want []string) {
	t.Helper()
	var got []string
	last := make(map[messages.Claim]int)
	for _, w := range admitted {
		got = append(got, w.Tag)
		var arrived int
		_, _ = fmt.Sscan(w.Tag, &arrived)
		key := w.line
		if arrived < last[key] {
			t.Fatalf("step %d: admitted in the order %v", step, got)
		}
		last[key] = arrived
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("step %d: admitted are %v, want %v", step, got, want)
	}
}

func compareLedgers(t *testing.T, step int, real *Ledger, naive *naiveLedger) {
	t.Helper()
	// What nobody holds must not be in a table: it would grow for ever.
	var waiting []naiveEntry
	for _, w := range naive.waiting {
		for _, c := range w.claims {
			waiting = append(waiting, naiveEntry{w.holder, c})
		}
	}
	for _, c := range []struct {
		what string
		got  map[messages.Claim]int
		list []naiveEntry
	}{{"taken", real.taken, naive.held}, {"waited for", real.queue.count, waiting}} {
		want := make(map[messages.Claim]int)
		for _, e := range c.list {
			want[e.claim]++
			if e.claim.Source.Addr().Is6() {
				around := e.claim
				around.Source, _ = e.claim.Source.Addr().Prefix(48)
				want[around]++
			}
		}
		if !maps.Equal(c.got, want) {
			t.Fatalf("step %d: %s is %v, want %v", step, c.what, c.got, want)
		}
	}
	units, lines, holders := len(naive.held), 0, 0
	for _, held := range real.held {
		units -= len(held)
	}
	for _, line := range real.queue.lines {
		lines += line.Len()
	}
	for _, of := range real.queue.of {
		holders += len(of)
	}
	if n := len(naive.waiting); units != 0 || lines != n || holders != n || real.queue.order.Len() != n {
		t.Fatalf("step %d: the holders' lists differ by %d; %d wait, %d in lines, %d of holders, %d in order",
			step, units, n, lines, holders, real.queue.order.Len())
	}
	for i, e := 0, real.queue.order.Front(); e != nil; i, e = i+1, e.Next() {
		if got, want := e.Value.(*Waiting).Tag, naive.waiting[i].tag; got != want {
			t.Fatalf("step %d: number %d in order is %s, want %s", step, i, got, want)
		}
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
	f.Add([]byte{1, 1, 1, 0, 0, 2, 0, 2, 0, 0})                         // the same claim twice in one request
	f.Add([]byte{2, 2, 2, 0, 0, 2, 0, 2, 3, 0, 4, 0, 1, 0, 6, 0, 0})    // acquire, release a part, end
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 1, 0, 4, 1, 1, 0})                // release what another holds
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 5, 0, 1, 1, 5, 4, 0, 1, 5})    // wait, and have one's turn
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 6, 0, 1, 1, 6, 7, 1, 0, 0, 6}) // wait, and leave
	f.Fuzz(runLedger)
}

func TestLedgerDoesNotKeepTheCallersSlice(t *testing.T) {
	l := New([messages.ClaimKinds]int{})
	claims := []messages.Claim{ledgerClaims[0], ledgerClaims[2]}
	l.Grant("a", claims)
	claims[0] = ledgerClaims[1] // the message may be used again by who sent it
	l.End("a")
	if len(l.taken) != 0 {
		t.Errorf("still taken: %v", l.taken)
	}
}
