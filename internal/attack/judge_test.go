package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/attack/neighbour"
	"wsproxy/internal/attack/play"
)

// What the project deploys is what is attacked.
func TestReadCompose(t *testing.T) {
	d, err := readCompose("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d.memory != 1<<30 || d.descriptors != 65536 {
		t.Errorf("%d bytes of memory and %d descriptors, want 1 GiB and 65,536", d.memory, d.descriptors)
	}
	for _, want := range []string{"GOMEMLIMIT=700MiB", "RESUME_BUFFER_TOTAL=64MiB", "SHUTDOWN_TIMEOUT=30s", "TRUSTED_PROXIES=172.30.99.2/32,"} {
		if !slices.Contains(d.env, want) {
			t.Errorf("%s is not in %q", want, d.env)
		}
	}
	for _, variable := range d.env {
		if strings.HasSuffix(variable, "=") || strings.HasPrefix(variable, "PROXY_DOMAIN") {
			t.Errorf("%q is not the server's", variable)
		}
	}
}

// calmly is a result of which nothing is bad.
func calmly() *result {
	good := map[string]neighbour.Measure{
		"relay":         {Requests: 500, Median: time.Millisecond, P99: 3 * time.Millisecond},
		"health":        {Requests: 20, Median: time.Millisecond, P99: 3 * time.Millisecond},
		neighbour.Small: {Requests: 520, Median: time.Millisecond, P99: 3 * time.Millisecond},
	}
	under := map[string]neighbour.Measure{}
	for name, m := range good {
		under[name] = m
	}
	return &result{took: 2 * time.Second, calm: good, under: under, peaks: peaks{charged: 1 << 29},
		deeds: play.Deeds{Done: map[string]int{"opened": 1}}}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	set := func(r *result, name string, change func(m *neighbour.Measure)) {
		m := r.under[name]
		change(&m)
		r.under[name] = m
	}
	for name, c := range map[string]struct {
		change func(r *result)
		want   string // a part of the only fault; "" for none
		slow   bool   // nothing but slow
	}{
		"nothing":                {func(*result) {}, "", false},
		"a failure":              {func(r *result) { set(r, "health", func(m *neighbour.Measure) { m.Failures = 1 }) }, "health: 1 of 20 failed", false},
		"no attack":              {func(r *result) { r.deeds = play.Deeds{Error: "needs root"} }, "did nothing: needs root", false},
		"killed":                 {func(r *result) { r.died = "killed for its memory" }, "server killed", false},
		"sockets and memory":     {func(r *result) { r.peaks.charged = 1<<30 + 1 }, "of 1024", false},
		"as slow as may be":      {func(r *result) { set(r, "relay", func(m *neighbour.Measure) { m.P99 = 30 * time.Millisecond }) }, "", false},
		"slower":                 {func(r *result) { set(r, "relay", func(m *neighbour.Measure) { m.P99 = 31 * time.Millisecond }) }, "relay: p99", true},
		"the slowest of few":     {func(r *result) { set(r, "health", func(m *neighbour.Measure) { m.P99 = time.Second }) }, "", false},
		"half of few":            {func(r *result) { set(r, "health", func(m *neighbour.Measure) { m.Median = time.Second }) }, "health: median", true},
		"no request":             {func(r *result) { delete(r.under, "relay") }, "relay: not one request", true},
		"as many lines as may":   {func(r *result) { r.logLines = 60 }, "", false},
		"more lines":             {func(r *result) { r.logLines, r.logKind = 61, "refused: x" }, `61 lines "refused: x"`, false},
		"a failure that is slow": {func(r *result) { set(r, "relay", func(m *neighbour.Measure) { m.Failures, m.P99 = 1, time.Second }) }, "relay: 1 of 500", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, l := calmly(), limits{memory: 1 << 30, floor: 20 * time.Millisecond}
			c.change(r)
			faults := r.faults(l)
			if c.want == "" && len(faults) > 0 || c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.want)) {
				t.Errorf("faults %q, want %q", faults, c.want)
			}
			if got := r.onlySlow(l); got != c.slow {
				t.Errorf("nothing but slow is %v, want %v", got, c.slow)
			}
		})
	}
}

func TestServerLogCounts(t *testing.T) {
	t.Parallel()
	l := &serverLog{counts: map[string]int{}, listening: make(chan string, 1)}
	l.read(strings.NewReader(`{"msg":"listening","address":"127.0.0.1:1"}` + "\n" +
		strings.Repeat(`{"msg":"refused","reason":"limit"}`+"\n", 3) + strings.Repeat(`{"msg":"refused","reason":"body"}`+"\n", 2)))
	if address := <-l.listening; address != "127.0.0.1:1" {
		t.Errorf("the address is %q", address)
	}
	if _, kind, lines := l.take(); kind != "refused: limit" || lines != 3 {
		t.Errorf("%d lines of %q came most often", lines, kind)
	}
	if bytes, kind, _ := l.take(); bytes != 0 || kind != "" {
		t.Errorf("%d bytes of %q are left", bytes, kind)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	if all, err := choose(""); err != nil || len(all) != len(play.Attacks) {
		t.Errorf("nothing chooses %d attacks, %v", len(all), err)
	}
	if two, err := choose("log,queue"); err != nil || len(two) != 2 || two[1].Name != "queue" {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := choose("log,quue"); err == nil {
		t.Error("an attack that there isn't is chosen")
	}
	seen := map[string]bool{}
	for _, a := range play.Attacks {
		if seen[a.Name] || a.What == "" {
			t.Errorf("%q is there twice, or says nothing", a.Name)
		}
		seen[a.Name] = true
	}
}
