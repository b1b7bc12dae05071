package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"wsproxy/messages/inspect"
)

// A row is a session, and how much it moves in bytes a second.
type row struct {
	inspect.Session
	Up   float64 `json:"rate_from_client"`
	Down float64 `json:"rate_to_client"`
}

// A key tells sessions apart: those of a subdomain have one id.
type key struct {
	kind, id string
	since    int64
}

func (r *row) key() key { return key{r.Kind, r.ID, r.Since.UnixNano()} }

// An order is a way to sort rows.
type order struct {
	name    string
	compare func(a, b *row) int
}

// orders are in the order in which a key goes through them.
var orders = []order{
	{"rate", func(a, b *row) int { return cmp.Compare(b.Up+b.Down, a.Up+a.Down) }},
	{"bytes", func(a, b *row) int { return cmp.Compare(b.FromClient+b.ToClient, a.FromClient+a.ToClient) }},
	{"age", func(a, b *row) int { return a.Since.Compare(b.Since) }},
	{"user", func(a, b *row) int { return cmp.Compare(a.User, b.User) }},
	{"target", func(a, b *row) int { return cmp.Compare(where(&a.Session), where(&b.Session)) }},
}

func orderNames() string {
	var names []string
	for _, o := range orders {
		names = append(names, o.name)
	}
	return strings.Join(names, ", ")
}

func orderOf(name string) (index int, known bool) {
	index = slices.IndexFunc(orders, func(o order) bool { return o.name == name })
	return index, index >= 0
}

// A table is what is known of a server's sessions. One goroutine has it.
type table struct {
	answer inspect.Answer // the last one
	rows   []row          // of it, sorted
	order  int
	filter string
}

// take takes an answer, and makes rates of it and the one before.
func (t *table) take(answer inspect.Answer) {
	seconds := answer.Time.Sub(t.answer.Time).Seconds()
	before := make(map[key]row, len(t.rows))
	for i := range t.rows {
		before[t.rows[i].key()] = t.rows[i]
	}
	t.answer, t.rows = answer, make([]row, len(answer.Sessions))
	for i, session := range answer.Sessions {
		r := row{Session: session}
		if old, ok := before[r.key()]; ok && seconds > 0 {
			r.Up = max(float64(r.FromClient-old.FromClient)/seconds, 0)
			r.Down = max(float64(r.ToClient-old.ToClient)/seconds, 0)
		}
		t.rows[i] = r
	}
	t.sort()
}

func (t *table) sort() {
	slices.SortStableFunc(t.rows, func(a, b row) int {
		return cmp.Or(orders[t.order].compare(&a, &b), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
}

// next sorts by the next order.
func (t *table) next() {
	t.order = (t.order + 1) % len(orders)
	t.sort()
}

// shown returns the rows that the filter leaves.
func (t *table) shown() []row {
	if t.filter == "" {
		return t.rows
	}
	want := strings.ToLower(t.filter)
	var some []row
	for i := range t.rows {
		r := &t.rows[i]
		for _, text := range []string{r.ID, r.Kind, name(r.User), r.Source.String(), where(&r.Session), r.State} {
			if strings.Contains(strings.ToLower(text), want) {
				some = append(some, *r)
				break
			}
		}
	}
	return some
}

// A document is what --json prints.
type document struct {
	inspect.Answer
	Sessions []row `json:"sessions"`
}

func (t *table) document() document {
	return document{t.answer, append([]row{}, t.shown()...)}
}

// name is how people are shown a user.
func name(user string) string { return cmp.Or(user, "anonymous") }

// where is where a session leads: a relay to its target, a tunnel from its name or else its
// subdomain to what comes in there.
func where(s *inspect.Session) string {
	if s.Tunnel == nil || s.Tunnel.Name != "" {
		return besideID(s)
	}
	return s.Tunnel.Subdomain + ", " + besideID(s)
}

// besideID is the same where the id is told, too, which is the subdomain.
func besideID(s *inspect.Session) string {
	if s.Tunnel == nil {
		return s.Target
	}
	var parts []string
	if s.Tunnel.Name != "" {
		parts = append(parts, s.Tunnel.Name)
	}
	if s.Tunnel.Port != 0 {
		parts = append(parts, "port "+strconv.Itoa(int(s.Tunnel.Port)))
	}
	return strings.Join(append(parts, strconv.Itoa(s.Tunnel.Connections)+" tcp", strconv.Itoa(s.Tunnel.Requests)+" http"), ", ")
}
