package top

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/messages/inspect"
)

// busy is a server's terminal with relays, tunnels with and without a name, and a session
// that waits; user "" is that nobody has a name.
func busy(user string) *live {
	second := user
	if user != "" {
		second = "bob"
	}
	ssh := relay("5c1f0a97be2d4c36", user, "db.internal:22", 51_000, 1_800_000)
	lost := relay("d04be7712c9a8f15", second, "[2001:db8:17::5]:5432", 900, 0)
	lost.Source, lost.State, lost.Since = netip.MustParseAddr("203.0.113.254"), inspect.Detached, start.Add(-26*time.Hour)
	lost.Age = 26 * 3600
	named := tunnel("a3f09b77c1d2e845", 120_000, 4_400)
	named.User, named.Tunnel.Name, named.Tunnel.Port = user, "shop", 0
	bare := tunnel("60c1cd7a39a6c1b2", 0, 0)
	bare.User = second
	other := tunnel("0f2d77aa15be90c3", 0, 0)
	other.User, other.Tunnel.Port = second, 10017
	l := &live{view: view{table: &table{}, server: "127.0.0.1:9091", marks: true}}
	all := []inspect.Session{ssh, lost, named, bare, other}
	l.view.take(inspect.Answer{Time: start, Sessions: all})
	again := make([]inspect.Session, len(all))
	for i, s := range all {
		s.FromClient, s.ToClient = 2*s.FromClient, 2*s.ToClient
		again[i] = s
	}
	l.view.take(inspect.Answer{Time: start.Add(time.Second), Sessions: again})
	return l
}

// typedAll presses keys, each on a screen that was drawn.
func (l *live) typedAll(keys string) {
	for _, k := range keys {
		l.view.frame(80, 24) // selects
		l.press(k)
	}
}

// compact writes runs of empty lines as their number.
func compact(lines []string) string {
	var b strings.Builder
	for i := 0; i < len(lines); i++ {
		empty := 0
		for i+empty < len(lines) && lines[i+empty] == "" {
			empty++
		}
		if empty > 0 {
			fmt.Fprintf(&b, "~ %d empty\n", empty)
			i += empty - 1
			continue
		}
		b.WriteString(lines[i] + "\n")
	}
	return b.String()
}

// What a person sees in the usual sizes: rates and filter always, a question as a whole, and
// as much of the rest as there is room for.
func TestScreens(t *testing.T) {
	for _, test := range []struct {
		width      int
		user, keys string
		want       string
	}{
		{140, "", "s", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached   up 171.9 kB/s, down 1.8 MB/s
~ 1 empty
  KIND    ID                USER       SOURCE           TO                         STATE        AGE      UP/S    DOWN/S      MOVED
> relay   5c1f0a97be2d4c36  anonymous  192.0.2.7        db.internal:22             relaying   1m31s   51.0 kB    1.8 MB     3.7 MB
  tunnel  a3f09b77c1d2e845  anonymous  2001:db8::1      shop, 2 tcp, 1 http        ready      1h01m  120.0 kB    4.4 kB   248.8 kB
  relay   d04be7712c9a8f15  anonymous  203.0.113.254    [2001:db8:17::5]:5432      detached  26h00m     900 B         -     1.8 kB
  tunnel  0f2d77aa15be90c3  anonymous  2001:db8::1      port 10017, 2 tcp, 1 http  ready      1h01m         -         -        0 B
  tunnel  60c1cd7a39a6c1b2  anonymous  2001:db8::1      port 10003, 2 tcp, 1 http  ready      1h01m         -         -        0 B
~ 15 empty
q quit  up/down select  k close  / filter  s sort, now by bytes
`},
		{140, "", "/tunnel\rk", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached   up 171.9 kB/s, down 1.8 MB/s
filter: tunnel   shows 3 of 5
  KIND    ID                USER       SOURCE           TO                         STATE        AGE      UP/S    DOWN/S      MOVED
> tunnel  a3f09b77c1d2e845  anonymous  2001:db8::1      shop, 2 tcp, 1 http        ready      1h01m  120.0 kB    4.4 kB   248.8 kB
  tunnel  0f2d77aa15be90c3  anonymous  2001:db8::1      port 10017, 2 tcp, 1 http  ready      1h01m         -         -        0 B
  tunnel  60c1cd7a39a6c1b2  anonymous  2001:db8::1      port 10003, 2 tcp, 1 http  ready      1h01m         -         -        0 B
~ 17 empty
y = yes, any other key = no: close tunnel a3f09b77c1d2e845 of anonymous from 2001:db8::1 (shop, 2 tcp, 1 http)?
`},
		{80, "", "", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
  KIND    SOURCE           TO                       STATE         UP/S    DOWN/S
> relay   192.0.2.7        db.internal:22           relaying   51.0 kB    1.8 MB
  tunnel  2001:db8::1      shop, 2 tcp, 1 http      ready     120.0 kB    4.4 kB
  relay   203.0.113.254    [2001:db8:17::5]:5432    detached     900 B         -
  tunnel  2001:db8::1      0f2d77aa15be90c3, port…  ready            -         -
  tunnel  2001:db8::1      60c1cd7a39a6c1b2, port…  ready            -         -
~ 15 empty
q quit  up/down select  k close  / filter  s sort, now by rate
`},
		{80, "ann@example.com", "", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
  KIND    USER       TO                     STATE        AGE      UP/S    DOWN/S
> relay   ann@exam…  db.internal:22         relaying   1m31s   51.0 kB    1.8 MB
  tunnel  ann@exam…  shop, 2 tcp, 1 http    ready      1h01m  120.0 kB    4.4 kB
  relay   bob        [2001:db8:17::5]:5432  detached  26h00m     900 B         -
  tunnel  bob        0f2d77aa15be90c3, po…  ready      1h01m         -         -
  tunnel  bob        60c1cd7a39a6c1b2, po…  ready      1h01m         -         -
~ 15 empty
q quit  up/down select  k close  / filter  s sort, now by rate
`},
		{80, "ann@example.com", "/tunnel\rk", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
filter: tunnel   shows 3 of 5
  KIND    USER       TO                     STATE        AGE      UP/S    DOWN/S
> tunnel  ann@exam…  shop, 2 tcp, 1 http    ready      1h01m  120.0 kB    4.4 kB
  tunnel  bob        0f2d77aa15be90c3, po…  ready      1h01m         -         -
  tunnel  bob        60c1cd7a39a6c1b2, po…  ready      1h01m         -         -
~ 15 empty
y = yes, any other key = no: close tunnel a3f09b77c1d2e845 of ann@example.com
from 2001:db8::1 (shop, 2 tcp, 1 http)?
`},
		{80, "", "/nope\r", `
wsproxy at 127.0.0.1:9091   2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
filter: nope   hides all 5
  KIND    SOURCE           TO                 STATE         UP/S    DOWN/S
The filter hides all 5 sessions: Esc clears it.
~ 18 empty
q quit  up/down select  k close  / filter  Esc no filter  s sort, now by rate
`},
		{40, "", "", `
wsproxy at 127.0.0.1:9091
2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
  TO                      UP/S    DOWN/S
> db.internal:22       51.0 kB    1.8 MB
  shop, 2 tcp, 1 ht…  120.0 kB    4.4 kB
  [2001:db8:17::5]:…     900 B         -
  0f2d77aa15be90c3,…         -         -
  60c1cd7a39a6c1b2,…         -         -
~ 13 empty
q quit  up/down select  k close
/ filter  s sort, now by rate
`},
		{40, "ann@example.com", "/tunnel\rk", `
wsproxy at 127.0.0.1:9091
2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
filter: tunnel   shows 3 of 5
  TO                      UP/S    DOWN/S
> shop, 2 tcp, 1 ht…  120.0 kB    4.4 kB
  0f2d77aa15be90c3,…         -         -
  60c1cd7a39a6c1b2,…         -         -
~ 12 empty
y = yes, any other key = no: close
tunnel a3f09b77c1d2e845 of
ann@example.com from 2001:db8::1 (shop,
2 tcp, 1 http)?
`},
		{40, "", "/nope\r", `
wsproxy at 127.0.0.1:9091
2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
filter: nope   hides all 5
  TO                     UP/S    DOWN/S
The filter hides all 5 sessions: Esc
clears it.
~ 14 empty
q quit  up/down select  k close
/ filter  Esc no filter
s sort, now by rate
`},
		{40, "", "/a filter of which the end is being typed", `
wsproxy at 127.0.0.1:9091
2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
filter: a filter of which…   hides all 5
  TO                     UP/S    DOWN/S
The filter hides all 5 sessions: Esc
clears it.
~ 15 empty
…filter of which the end is being typed_
Enter keeps, Esc clears
`},
		{40, "", refused, `
wsproxy at 127.0.0.1:9091
2 relays, 3 tunnels, 1 detached
up 171.9 kB/s, down 1.8 MB/s
  TO                      UP/S    DOWN/S
> db.internal:22       51.0 kB    1.8 MB
  shop, 2 tcp, 1 ht…  120.0 kB    4.4 kB
  [2001:db8:17::5]:…     900 B         -
  0f2d77aa15be90c3,…         -         -
  60c1cd7a39a6c1b2,…         -         -
~ 13 empty
the server refuses the token: it must be
its ADMIN_TOKEN
`},
	} {
		l := busy(test.user)
		if test.keys == refused {
			l.note("the server refuses the token: it must be its ADMIN_TOKEN")
		} else {
			l.typedAll(test.keys)
		}
		lines := l.view.frame(test.width, 24)
		if got := compact(lines); got != strings.TrimPrefix(test.want, "\n") || len(lines) != 24 {
			t.Errorf("%d columns, user %q, keys %q: %d lines\n%s", test.width, test.user, test.keys, len(lines), got)
		}
	}
}

// refused stands for a note of several lines instead of keys.
const refused = "(note)"

// In any width the rates are whole, and so is the question if there is the height.
func TestNothingIsCut(t *testing.T) {
	for width := 26; width < 200; width++ {
		l := busy(strings.Repeat("user ", 10))
		l.view.answer.Draining, l.view.answer.LeftOut = true, 7
		for _, line := range l.view.frame(width, 24) {
			if len([]rune(line)) > width {
				t.Fatalf("%d columns: %q", width, line)
			}
		}
		l.typedAll("/tunnel\rk")
		lines := l.view.frame(width, 24)
		said := strings.Join(lines, " ")
		title := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "  TO") })
		if title < 0 || !strings.Contains(lines[title], " UP/S ") || !strings.HasSuffix(strings.TrimRight(lines[title], " DEMOV"), " DOWN/S") || !strings.Contains(lines[title+1], " 120.0 kB ") {
			t.Fatalf("%d columns: the rates are cut:\n%s", width, strings.Join(lines, "\n"))
		}
		for _, want := range []string{"filter: tunnel", "draining", "7 not shown", "y = yes, any other key = no: ", "(shop, 2 tcp, 1 http)?"} {
			if !strings.Contains(strings.Join(strings.Fields(said), " "), strings.TrimSpace(want)) {
				t.Fatalf("%d columns: it does not say %q:\n%s", width, want, strings.Join(lines, "\n"))
			}
		}
	}
	// Where the height is short, the question comes first, then the list and the filter.
	l := busy("")
	l.typedAll("/tunnel\rk")
	if lines := l.view.frame(40, 6); len(lines) != 6 || !strings.HasPrefix(lines[0], "filter: tunnel") || !strings.HasPrefix(lines[2], "> shop") || !strings.HasPrefix(lines[3], "y = yes") {
		t.Errorf("six lines are\n%s", strings.Join(lines, "\n"))
	}
	if lines := l.view.frame(40, 2); len(lines) != 2 || !strings.HasPrefix(lines[0], "y = yes") {
		t.Errorf("two lines are %q", lines)
	}
}
