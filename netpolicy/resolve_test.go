package netpolicy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []string
		want   []string
		reason Reason
	}{
		{"one", []string{"8.8.8.8"}, []string{"8.8.8.8:22"}, open},
		{"order is kept", []string{"8.8.8.8", "2606:4700::1", "1.1.1.1"}, []string{"8.8.8.8:22", "[2606:4700::1]:22", "1.1.1.1:22"}, open},
		{"again and again", []string{"8.8.8.8", "::ffff:8.8.8.8", "8.8.8.8"}, []string{"8.8.8.8:22"}, open},
		{"mapped", []string{"::ffff:8.8.8.8"}, []string{"8.8.8.8:22"}, open},
		{"loopback", []string{"127.0.0.1"}, nil, ReasonRange},
		{"loopback, IPv6", []string{"::1"}, nil, ReasonRange},
		{"loopback, mapped", []string{"::ffff:127.0.0.1"}, nil, ReasonRange},
		{"loopback, through 6to4", []string{"2002:7f00:1::"}, nil, ReasonEmbedded},
		{"one bad at the end", []string{"8.8.8.8", "1.1.1.1", "10.0.0.1"}, nil, ReasonRange},
		{"one bad at the beginning", []string{"10.0.0.1", "8.8.8.8"}, nil, ReasonRange},
		{"one bad of the other family", []string{"8.8.8.8", "fd00::1"}, nil, ReasonRange},
		{"a zone", []string{"8.8.8.8", "2606:4700::1%eth0"}, nil, ReasonZone},
	} {
		r := answering(tt.answer...)
		var got []netip.AddrPort
		var err error
		synctest.Test(t, func(*testing.T) {
			got, err = New(Options{DefaultBlock: true, Resolver: r}).Resolve(context.Background(), Target{Host: "a.example", Port: 22})
		})
		var want []netip.AddrPort
		for _, s := range tt.want {
			want = append(want, netip.MustParseAddrPort(s))
		}
		if !slices.Equal(got, want) || reasonOf(err) != tt.reason || (err == nil) != (tt.reason == open) {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
		if n := r.asked.Load(); n != 1 {
			t.Errorf("%s: %d lookups", tt.name, n)
		}
	}
}

// With its trailing dot a name is absolute, and the resolver is to know.
func TestResolveAsksForTheNameAsGiven(t *testing.T) {
	for _, host := range []string{"a.example", "a.example."} {
		var asked string
		r := &fakeResolver{answer: func(_ int, name string) ([]netip.Addr, error) {
			asked = name
			return parseAddrs("8.8.8.8"), nil
		}}
		target, err := ParseTarget(host, "22")
		if err != nil || target.String() != "a.example:22" {
			t.Fatalf("%s became %s, %v", host, target, err)
		}
		if _, err := New(Options{Resolver: r}).Resolve(context.Background(), target); err != nil || asked != host {
			t.Errorf("%s: the resolver was asked for %q, %v", host, asked, err)
		}
	}
}

func TestResolveFails(t *testing.T) {
	missing := &net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}
	for name, r := range map[string]*fakeResolver{
		"an error":  {answer: func(int, string) ([]netip.Addr, error) { return nil, missing }},
		"no answer": answering(),
	} {
		var err error
		synctest.Test(t, func(*testing.T) {
			_, err = New(Options{Resolver: r}).Resolve(context.Background(), Target{Host: "a.example", Port: 22})
		})
		u, ok := errors.AsType[*UnresolvedError](err)
		if !ok || u.Host != "a.example" {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "an error" && !errors.Is(err, missing) {
			t.Errorf("%v doesn't wrap the resolver's error", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := New(Options{Resolver: answering("8.8.8.8")}).Resolve(ctx, Target{Host: "a.example", Port: 22})
	if _, ok := errors.AsType[*UnresolvedError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// What can be refused without a lookup is.
func TestResolveAsksNobodyInVain(t *testing.T) {
	ports, err := ParsePorts("22")
	if err != nil {
		t.Fatal(err)
	}
	r := answering("8.8.8.8")
	p := New(Options{DefaultBlock: true, Ports: ports, Resolver: r})
	for host, want := range map[string]Reason{"a.example": ReasonPort, "8.8.8.8": ReasonPort, "10.0.0.1": ReasonPort} {
		target, err := ParseTarget(host, "23")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Resolve(context.Background(), target); reasonOf(err) != want {
			t.Errorf("%s: got %v", host, err)
		}
	}
	target, err := ParseTarget("[::ffff:8.8.8.8]", "22")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Resolve(context.Background(), target)
	if err != nil || len(got) != 1 || got[0] != netip.MustParseAddrPort("8.8.8.8:22") {
		t.Errorf("literal: got %v, %v", got, err)
	}
	if n := r.asked.Load(); n != 0 {
		t.Errorf("%d lookups", n)
	}
}

// A name that is public when it is judged and loopback right after: whoever
// looked it up again to dial it would reach the canary.
func TestRebindingReachesNothing(t *testing.T) {
	c := newCanary(t)
	r := &fakeResolver{answer: func(nth int, _ string) ([]netip.Addr, error) {
		if nth == 1 {
			return parseAddrs("8.8.8.8"), nil
		}
		return parseAddrs("127.0.0.1"), nil
	}}
	p := New(Options{DefaultBlock: true, Resolver: r})
	var dialled []netip.AddrPort
	p.connect = func(_ context.Context, ap netip.AddrPort) (*net.TCPConn, error) {
		dialled = append(dialled, ap)
		return nil, errors.New("not today")
	}
	addrs, err := p.Resolve(context.Background(), Target{Host: "rebind.example", Port: c.port})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Dial(context.Background(), addrs); err == nil {
		t.Error("connected to nowhere")
	}
	want := netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), c.port)
	if !slices.Equal(dialled, []netip.AddrPort{want}) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("%d lookups", n)
	}
	if _, err := p.Resolve(context.Background(), Target{Host: "rebind.example", Port: c.port}); reasonOf(err) != ReasonRange {
		t.Errorf("the second time: %v", err)
	}
	if n := c.visitors(t); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
}

// The time of a refusal doesn't tell whether there is such a name: the resolver
// knows sooner of one that there is than of one that it tries with each search
// domain.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	missing := &net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}
	for name, tt := range map[string]struct {
		takes   time.Duration
		address string // "" = there is no such name
		ctx     time.Duration
		want    time.Duration
	}{
		"blocked, at once":         {0, "10.0.0.1", time.Minute, refusalStep},
		"blocked":                  {5 * time.Millisecond, "10.0.0.1", time.Minute, refusalStep},
		"unknown, at once":         {0, "", time.Minute, refusalStep},
		"unknown, after a search":  {400 * time.Millisecond, "", time.Minute, refusalStep},
		"blocked, slowly":          {600 * time.Millisecond, "10.0.0.1", time.Minute, 2 * refusalStep},
		"unknown, slowly":          {999 * time.Millisecond, "", time.Minute, 2 * refusalStep},
		"the client leaves":        {0, "10.0.0.1", 100 * time.Millisecond, 100 * time.Millisecond},
		"allowed, which waits not": {5 * time.Millisecond, "8.8.8.8", time.Minute, 5 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &fakeResolver{answer: func(int, string) ([]netip.Addr, error) {
				time.Sleep(tt.takes)
				if tt.address == "" {
					return nil, missing
				}
				return parseAddrs(tt.address), nil
			}}
			ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
			defer cancel()
			begun := time.Now()
			_, err := New(Options{DefaultBlock: true, Resolver: r}).Resolve(ctx, Target{Host: "a.example", Port: 22})
			if took := time.Since(begun); took != tt.want || (err == nil) != (tt.address == "8.8.8.8") {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
		})
	}
}
