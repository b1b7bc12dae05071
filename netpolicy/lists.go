package netpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var errEmptyList = errors.New("the list names nothing")

// ParsePrefixes reads a comma-separated list of CIDRs, such as
// "10.0.0.0/8, 2001:db8::/32". A bare address is a range of one; a prefix
// within ::ffff:0:0/96 is the IPv4 prefix that it maps. Bits beyond the length
// of a prefix say nothing: 10.1.2.3/8 is 10.0.0.0/8. Empty entries are none. A
// list that names nothing, "" included, is an error: whoever means "no list"
// doesn't ask.
func ParsePrefixes(s string) ([]netip.Prefix, error) {
	entries, err := splitList(s)
	if err != nil {
		return nil, err
	}
	prefixes := make([]netip.Prefix, 0, len(entries))
	for _, entry := range entries {
		p, err := parsePrefix(entry)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// ParseBlocked reads BLOCKED_TARGETS: "" is the default block alone, a list for
// [ParsePrefixes] is blocked beside it, and "none" alone blocks nothing. "none"
// beside other entries is an error, for it could mean either.
func ParseBlocked(s string) (prefixes []netip.Prefix, useDefault bool, err error) {
	if s == "" {
		return nil, true, nil
	}
	entries, err := splitList(s)
	if err != nil {
		return nil, false, err
	}
	if slices.Contains(entries, "none") {
		if len(entries) > 1 {
			return nil, false, errors.New(`"none" can only stand alone; leave it out, or the other entries`)
		}
		return nil, false, nil
	}
	prefixes, err = ParsePrefixes(s)
	return prefixes, err == nil, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "%") {
		return netip.Prefix{}, fmt.Errorf("%q has a zone, which a range can't have", s)
	}
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8", s)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a range such as 10.0.0.0/8", s)
	}
	return normalPrefix(p), nil
}

// PortSet is a set of ports. The zero value holds every port from 1 on: an
// empty ALLOWED_PORTS means any.
type PortSet struct {
	ranges []portRange // sorted, apart from each other
}

type portRange struct{ first, last uint16 }

// ParsePorts reads ALLOWED_PORTS: comma-separated ports and ranges of them, both
// ends included, such as "22,2222,8000-8999". "" is the zero PortSet.
func ParsePorts(s string) (PortSet, error) {
	if s == "" {
		return PortSet{}, nil
	}
	entries, err := splitList(s)
	if err != nil {
		return PortSet{}, err
	}
	var ranges []portRange
	for _, entry := range entries {
		low, high, isRange := strings.Cut(entry, "-")
		first, ok := parsePort(strings.TrimSpace(low))
		last, okLast := first, true
		if isRange {
			last, okLast = parsePort(strings.TrimSpace(high))
		}
		if !ok || !okLast {
			return PortSet{}, fmt.Errorf("%q is neither a port from 1 to 65535 nor a range such as 8000-8999", entry)
		}
		if last < first {
			return PortSet{}, fmt.Errorf("%q ends before it begins; write %d-%d", entry, last, first)
		}
		ranges = append(ranges, portRange{first, last})
	}
	return PortSet{ranges: mergePorts(ranges)}, nil
}

// Contains reports whether the set holds port; 0 is no port.
func (s PortSet) Contains(port uint16) bool {
	if port == 0 {
		return false
	}
	if len(s.ranges) == 0 {
		return true
	}
	_, found := slices.BinarySearchFunc(s.ranges, port, func(r portRange, port uint16) int {
		switch {
		case r.last < port:
			return -1
		case r.first > port:
			return 1
		}
		return 0
	})
	return found
}

// Empty reports whether the set is the zero value, which holds every port.
func (s PortSet) Empty() bool { return len(s.ranges) == 0 }

// String returns the set as ParsePorts reads it, sorted and merged.
func (s PortSet) String() string {
	var b strings.Builder
	for i, r := range s.ranges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(r.first)))
		if r.last > r.first {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(int(r.last)))
		}
	}
	return b.String()
}

// mergePorts sorts ranges and joins those that overlap or touch.
func mergePorts(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int { return int(a.first) - int(b.first) })
	merged := ranges[:1]
	for _, r := range ranges[1:] {
		top := &merged[len(merged)-1]
		if int(r.first) <= int(top.last)+1 {
			top.last = max(top.last, r.last)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// splitList splits a configured list at commas. Blanks around an entry and
// empty entries say nothing, as people leave them behind when they edit a list.
// A list of nothing else is an error.
func splitList(s string) ([]string, error) {
	var entries []string
	for entry := range strings.SplitSeq(s, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 {
		return nil, errEmptyList
	}
	return entries, nil
}
