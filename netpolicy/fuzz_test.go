package netpolicy

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func FuzzParseTarget(f *testing.F) {
	for _, t := range forbiddenTargets(f) {
		f.Add(t.spelling, "22")
	}
	for _, s := range []string{"example.com", "EXAMPLE.com.", "_a.b-c.example", "192.0.2.1", "[2001:DB8::1]", "::ffff:192.0.2.1", "xn--bcher-kva.example", "1e100.net"} {
		f.Add(s, "65535")
	}
	for _, s := range []string{"", "0", "022", "+22", "65536", "22 "} {
		f.Add("example.com", s)
	}
	p := New(Options{DefaultBlock: true})
	f.Fuzz(func(t *testing.T, host, port string) {
		got, err := ParseTarget(host, port)
		if err != nil {
			if _, ok := errors.AsType[*MalformedError](err); !ok {
				t.Fatalf("%T is no MalformedError", err)
			}
			if got != (Target{}) || strings.ContainsFunc(err.Error(), notPrintable) {
				t.Fatalf("refused with %+v, %q", got, err)
			}
			return
		}
		if strconv.Itoa(int(got.Port)) != port || got.Port == 0 {
			t.Fatalf("port %q became %d", port, got.Port)
		}
		if strings.ContainsFunc(got.String(), notPrintable) || len(got.Host) > maxName || got.Host != strings.ToLower(got.Host) {
			t.Fatalf("accepted %q", got.Host)
		}
		if again, err := ParseTarget(got.lookupName(), port); err != nil || again != got {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
		parsed, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if got.Literal() != (err == nil) {
			t.Fatalf("%q: literal is %v, netip says %v", host, got.Literal(), err)
		}
		if !got.Literal() {
			if strings.ContainsAny(got.Host, ":[]%/@ ") || strings.HasSuffix(got.Host, ".") {
				t.Fatalf("accepted the name %q", got.Host)
			}
			if inetAton(got.Host) {
				t.Fatalf("accepted the name %q, which inet_aton(3) takes for an address", got.Host)
			}
			if name, err := ParseName(host); err != nil || name != got.Host {
				t.Fatalf("ParseName says %q, %v", name, err)
			}
			return
		}
		if got.Addr != parsed.Unmap() || got.Addr.Zone() != "" || got.Addr.Is4In6() || got.Host != got.Addr.String() {
			t.Fatalf("%q became %+v, netip says %s", host, got, parsed)
		}
		// The mapped form is judged like the address, and what passes is
		// neither private nor local by the standard library's lights.
		ap := netip.AddrPortFrom(got.Addr, got.Port)
		mapped := netip.AddrPortFrom(netip.AddrFrom16(got.Addr.As16()), got.Port)
		if reasonOf(p.Judge(ap)) != reasonOf(p.Judge(mapped)) {
			t.Fatalf("%s and %s are judged apart", ap, mapped)
		}
		if a := got.Addr; p.Judge(ap) == nil && (!a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback()) {
			t.Fatalf("%s passes", a)
		}
	})
}

// inetAton reports whether the C library reads s as an IPv4 address: up to four
// numbers, each decimal, octal or hexadecimal, the last filling what is left.
func inetAton(s string) bool {
	parts := strings.Split(s, ".")
	for _, part := range parts {
		base := 10
		if digits, ok := strings.CutPrefix(part, "0x"); ok {
			part, base = digits, 16
		} else if len(part) > 1 && part[0] == '0' {
			part, base = part[1:], 8
		}
		if _, err := strconv.ParseUint(part, base, 64); err != nil {
			return false
		}
	}
	return len(parts) <= 4
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

func FuzzParsePrefixes(f *testing.F) {
	for _, s := range []string{"", ",", "none", "10.0.0.0/8", "10.0.0.1/8", " 10.0.0.0/8 , fd00::/8 ", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "192.0.2.1", "fe80::1%eth0", "0.0.0.0/0,::/0", "10.0.0.0/8,,", "::/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParsePrefixes(s)
		if err != nil {
			if len(got) != 0 || strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Fatalf("refused with %v, %q", got, err)
			}
			return
		}
		if len(got) == 0 || len(got) > strings.Count(s, ",")+1 {
			t.Fatalf("%q has %d prefixes", s, len(got))
		}
		var texts []string
		blocked, allowed := New(Options{Blocked: got}), New(Options{DefaultBlock: true, Allowed: got})
		for _, p := range got {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				t.Fatalf("%q has %s", s, p)
			}
			texts = append(texts, p.String())
			last := lastAddr(p)
			if last.Is4In6() { // of ::/80: it is an IPv4 address, which IPv6 ranges don't name
				continue
			}
			ap := netip.AddrPortFrom(last, 22)
			if reasonOf(blocked.Judge(ap)) != ReasonRange {
				t.Fatalf("%q doesn't block %s", s, ap)
			}
			if r := reasonOf(allowed.Judge(ap)); r != open && r != ReasonEmbedded {
				t.Fatalf("%q doesn't allow %s: %s", s, ap, r)
			}
		}
		again, err := ParsePrefixes(strings.Join(texts, ","))
		if err != nil || !slices.Equal(again, got) {
			t.Fatalf("%v came back as %v, %v", got, again, err)
		}
	})
}

func FuzzSourceAddress(f *testing.F) {
	for _, s := range [][3]string{
		{"10.0.0.1", "192.0.2.1", ""},
		{"10.0.0.1", "198.51.100.1, 192.0.2.1, 10.0.0.2", "192.0.2.9"},
		{"10.0.0.1", "198.51.100.1\n10.0.0.3\n10.0.0.2", ""},
		{"10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "192.0.2.9"},
		{"10.0.0.1", "[2001:db8::1]:55, 10.0.0.2:55", ""},
		{"10.0.0.1", "", "::ffff:192.0.2.1"},
		{"10.0.0.1", ",, ,", "rubbish"},
		{"::ffff:10.0.0.1", "::ffff:10.0.0.2", "10.0.0.3"},
		{"203.0.113.5", "192.0.2.1", "192.0.2.2"},
		{"fe80::1%eth0", "fe80::2%eth1", ""},
	} {
		f.Add(s[0], s[1], s[2], "198.51.100.77")
	}
	s := NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10")})
	f.Fuzz(func(t *testing.T, peerText, forwarded, realIP, forged string) {
		peer, err := netip.ParseAddr(peerText)
		if err != nil {
			return
		}
		lines := strings.Split(forwarded, "\n")
		got := s.Address(peer, lines, realIP)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%#v is not plain", got)
		}
		if !s.Trusted(peer) {
			if got != plain(peer) {
				t.Fatalf("an untrusted peer %s made itself %s", peer, got)
			}
			return
		}
		// The lines are one list.
		if other := s.Address(peer, []string{strings.Join(lines, ",")}, realIP); other != got {
			t.Fatalf("%q: %s as lines, %s as a list", lines, got, other)
		}
		// From the right, as the contract says it: trusted ones, then an answer,
		// rubbish, or nothing.
		entries := strings.Split(strings.Join(lines, ","), ",")
		slices.Reverse(entries)
		for _, e := range entries {
			e = strings.Trim(e, " \t")
			if e == "" {
				continue
			}
			addr, ok := parseForwarded(e)
			if ok && s.Trusted(addr) {
				continue
			}
			want := plain(peer)
			if ok {
				want = addr
			}
			if got != want {
				t.Fatalf("%q: got %s, want %s", lines, got, want)
			}
			// Whatever a client writes in front changes nothing.
			if other := s.Address(peer, append([]string{forged}, lines...), realIP); other != got {
				t.Fatalf("%q in front of %q made %s of %s", forged, lines, other, got)
			}
			if other := s.Address(peer, lines, forged); other != got {
				t.Fatalf("a real IP %q made %s of %s", forged, other, got)
			}
			return
		}
		want, ok := parseForwarded(strings.Trim(realIP, " \t"))
		if !ok {
			want = plain(peer)
		}
		if got != want {
			t.Fatalf("all of %q is trusted: got %s, want %s", lines, got, want)
		}
	})
}

func FuzzOrigins(f *testing.F) {
	for _, p := range []string{"*", "https://app.example.com", "http://localhost:*", "https://*.example.com", "http://[::1]:*", "https://a.example:8443, https://b.example", "null", "https://*", "app://-", "file://", "a.example/,,localhost:*"} {
		for _, o := range []string{"https://app.example.com", "http://localhost:3000", "https://evilexample.com", "https://x@a.example.com", "https://a.example.com/", "null", "", "http://[::1]:80", "app://-", "file://"} {
			f.Add(p, o)
		}
	}
	f.Fuzz(func(t *testing.T, patterns, origin string) {
		o, err := ParseOrigins(patterns)
		if err != nil {
			if o.Any() || o.Allowed(origin) {
				t.Fatalf("%q, refused, allows %q", patterns, origin)
			}
			return
		}
		allowed := o.Allowed(origin)
		if o.Any() {
			if !allowed {
				t.Fatalf("%q doesn't allow %q", patterns, origin)
			}
			return
		}
		for p := range strings.SplitSeq(patterns, ",") {
			p = strings.TrimSuffix(strings.TrimSpace(p), "/")
			if p == "" || strings.Contains(p, "*") || strings.EqualFold(p, "file:/") {
				continue
			}
			for _, scheme := range []string{"http://", "https://"} {
				if strings.Contains(p, "://") {
					scheme = ""
				}
				if !o.Allowed(scheme + p) {
					t.Fatalf("%q doesn't allow its own %q", patterns, scheme+p)
				}
			}
		}
		if !allowed || strings.EqualFold(origin, "file://") {
			return
		}
		// What is allowed is an origin to the standard library too, with
		// nothing but a scheme and a host, and that host is one of ours.
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
			t.Fatalf("%q allows %q, which is %+v, %v", patterns, origin, u, err)
		}
		host := strings.ToLower(u.Hostname())
		if a, err := netip.ParseAddr(host); err == nil {
			host = a.String()
		}
		if !slices.ContainsFunc(o.patterns, func(p originPattern) bool {
			return p.scheme == u.Scheme && (p.host == host && !p.subdomains || p.subdomains && strings.HasSuffix(host, "."+p.host))
		}) {
			t.Fatalf("%q allows %q, host %q", patterns, origin, host)
		}
		if !o.Allowed(strings.ToUpper(u.Scheme) + "://" + strings.ToUpper(u.Host)) {
			t.Fatalf("%q doesn't allow %q in upper case", patterns, origin)
		}
		if o.Allowed(origin+"/") || o.Allowed(origin+"@"+u.Host) || o.Allowed(origin+" "+origin) {
			t.Fatalf("%q allows more than %q", patterns, origin)
		}
	})
}
