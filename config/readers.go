package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"wsproxy/netpolicy"
)

// Units of sizes, in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// maxTunnelDomain leaves room for a subdomain of 16 digits and its dot within
// the 253 characters of a DNS name.
const maxTunnelDomain = maxName - 17

// maxName is what a DNS name may have at most, in characters (RFC 1035, 2.3.4).
const maxName = 253

// port reads a TCP port from lowest to 65535.
func port(field func(*Config) *uint16, lowest uint16) reader {
	return reader{fmt.Sprintf("a port from %d to %d", lowest, math.MaxUint16), func(c *Config, text string) error {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n < uint64(lowest) {
			return errUnreadable
		}
		*field(c) = uint16(n)
		return nil
	}}
}

// count reads a whole number up to maxCount, of which 0 means no limit.
func count(field func(*Config) *int) reader {
	return reader{fmt.Sprintf("a whole number from 0 to %d, where 0 means no limit", maxCount), func(c *Config, text string) error {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || n > maxCount {
			return errUnreadable
		}
		*field(c) = int(n)
		return nil
	}}
}

// size reads a number of bytes with or without a unit of 1,024.
func size(field func(*Config) *int64, lowest, highest int64) reader {
	expected := fmt.Sprintf("a size such as 512KiB, 32MiB or 1GiB, from %s to %s", formatSize(lowest), formatSize(highest))
	return reader{expected, func(c *Config, text string) error {
		n, err := parseSize(text)
		if err != nil || n < lowest || n > highest {
			return errUnreadable
		}
		*field(c) = n
		return nil
	}}
}

// sizeOrNone is size for what 0 turns off.
func sizeOrNone(field func(*Config) *int64, lowest, highest int64) reader {
	bounded := size(field, lowest, highest)
	return reader{bounded.expected + ", or 0", func(c *Config, text string) error {
		if text == "0" {
			*field(c) = 0
			return nil
		}
		return bounded.read(c, text)
	}}
}

// sizeUnits are largest first, for formatSize.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", gib}, {"MiB", mib}, {"KiB", kib}}

func parseSize(text string) (int64, error) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if digits, found := strings.CutSuffix(text, u.suffix); found {
			text, unit = digits, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, errUnreadable
	}
	return int64(n) * unit, nil
}

func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// duration reads Go's notation.
func duration(field func(*Config) *time.Duration, shortest, longest time.Duration) reader {
	expected := fmt.Sprintf("a duration such as 500ms, 30s or 2m, from %s to %s", shortest, formatDuration(longest))
	return reader{expected, func(c *Config, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < shortest || d > longest {
			return errUnreadable
		}
		*field(c) = d
		return nil
	}}
}

// durationOrNever is duration for what 0 turns off.
func durationOrNever(field func(*Config) *time.Duration, shortest, longest time.Duration) reader {
	bounded := duration(field, shortest, longest)
	return reader{bounded.expected + ", or 0s", func(c *Config, text string) error {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			*field(c) = 0
			return nil
		}
		return bounded.read(c, text)
	}}
}

// formatDuration writes whole hours without their zero minutes and seconds.
func formatDuration(d time.Duration) string {
	return strings.TrimSuffix(d.String(), "0m0s")
}

// boolean reads exactly the four words that the contract has.
func boolean(field func(*Config) *bool) reader {
	return reader{"true, false, 1 or 0", func(c *Config, text string) error {
		switch text {
		case "true", "1":
			*field(c) = true
		case "false", "0":
			*field(c) = false
		default:
			return errUnreadable
		}
		return nil
	}}
}

// onOff reads the words for what is turned on or off.
func onOff(field func(*Config) *bool) reader {
	return reader{"on or off", func(c *Config, text string) error {
		if text != "on" && text != "off" {
			return errUnreadable
		}
		*field(c) = text == "on"
		return nil
	}}
}

// oneOf reads one of the words.
func oneOf(field func(*Config) *string, words ...string) reader {
	last := len(words) - 1
	expected := strings.Join(words[:last], ", ") + " or " + words[last]
	return reader{expected, func(c *Config, text string) error {
		if !slices.Contains(words, text) {
			return errUnreadable
		}
		*field(c) = text
		return nil
	}}
}

// prefixes reads a list of CIDRs, which must name at least one: unset says
// "none" already, so a list of commas alone is a slip.
func prefixes(field func(*Config) *[]netip.Prefix) reader {
	return reader{"CIDRs such as 10.0.0.0/8,fd00::/8", func(c *Config, text string) (err error) {
		*field(c), err = netpolicy.ParsePrefixes(text)
		return err
	}}
}

// bind reads what a listener can bind to. Brackets around an IPv6 address are
// taken off, for people write it like a URL's host.
func bind(field func(*Config) *string) reader {
	return reader{"an IP address, localhost, or unix: and an absolute path", func(c *Config, text string) error {
		if isUnix(text) {
			*field(c) = text
			return nil
		}
		host := unbracket(text)
		if !isListenHost(host) {
			return errUnreadable
		}
		*field(c) = host
		return nil
	}}
}

// maxUnixPath is what a Unix socket's path may have at most, in bytes: the shortest
// bound of a system is 104 (macOS), and the socket is made beside it under a name of 13.
const maxUnixPath = 90

// isUnix reports whether an address is a Unix socket's.
func isUnix(text string) bool {
	path, unix := UnixPath(text)
	return unix && filepath.IsAbs(path) && filepath.Clean(path) == path && path != "/" && len(path) <= maxUnixPath
}

// parseProxies reads a list of CIDRs, in which the word unix may stand.
func parseProxies(text string) (prefixes []netip.Prefix, unix bool, err error) {
	var rest []string
	for entry := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(entry) == "unix" {
			unix = true
		} else {
			rest = append(rest, entry)
		}
	}
	if list := strings.Join(rest, ","); !unix || strings.Trim(list, ", \t") != "" {
		prefixes, err = netpolicy.ParsePrefixes(list)
	}
	return prefixes, unix, err
}

func isListenHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// unbracket turns "[::1]" into "::1" and leaves all else, "[127.0.0.1]" too,
// as it is.
func unbracket(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && strings.Contains(host, ":") {
		return host[1 : len(host)-1]
	}
	return host
}

func parseListenAddr(text string) (string, error) {
	if isUnix(text) {
		return text, nil
	}
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return "", errUnreadable
	}
	if _, err := strconv.ParseUint(service, 10, 16); err != nil || host != "" && !isListenHost(host) {
		return "", errUnreadable
	}
	return net.JoinHostPort(host, service), nil
}

// claim reads text that is compared byte for byte with a token's claim, so
// that a blank which nobody sees would refuse everyone.
func claim(field func(*Config) *string) reader {
	return reader{"text without blanks or control characters", func(c *Config, text string) error {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return errUnreadable
		}
		*field(c) = text
		return nil
	}}
}

// file reads the absolute path of a file or directory, which is not looked at here.
func file(field func(*Config) *string) reader {
	return reader{"an absolute path", func(c *Config, text string) error {
		if !filepath.IsAbs(text) || strings.ContainsRune(text, 0) {
			return errUnreadable
		}
		*field(c) = filepath.Clean(text)
		return nil
	}}
}

// maxNames bounds the names in a list: each is a certificate to be had.
const maxNames = 100

// parseNames reads a list of DNS names, before which *. may stand, in lower case.
func parseNames(text string) (names []string, err error) {
	for entry := range strings.SplitSeq(text, ",") {
		name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(entry)), ".")
		if name == "" {
			continue
		}
		if bare := strings.TrimPrefix(name, "*."); len(bare) > maxName || !isDomain(bare) || !strings.Contains(bare, ".") {
			return nil, fmt.Errorf("%q is no DNS name of two labels or more", entry)
		}
		names = append(names, name)
	}
	if len(names) == 0 || len(names) > maxNames {
		return nil, errUnreadable
	}
	return names, nil
}

// secret reads text of at least so many bytes, which must not be shown.
func secret(field func(*Config) *string, shortest int) reader {
	return reader{fmt.Sprintf("at least %d bytes long", shortest), func(c *Config, text string) error {
		if len(text) < shortest {
			return errUnreadable
		}
		*field(c) = text
		return nil
	}}
}

// parseAncestors reads the origins of pages that may frame another. A policy can
// name no others than those of the web.
func parseAncestors(text string) ([]string, error) {
	origins, err := netpolicy.ParseExactOrigins(text)
	if err != nil {
		return nil, err
	}
	for _, origin := range origins {
		if !strings.HasPrefix(origin, "http://") && !strings.HasPrefix(origin, "https://") || strings.Contains(origin, "[") {
			return nil, fmt.Errorf("%q is no origin of http or https with a name or an IPv4 address, and a browser reads no other in a policy", origin)
		}
	}
	return origins, nil
}

// parseDomain reads the domain of tunnels. What people write for all of its
// subdomains, and the dot of an absolute name, mean the same domain.
func parseDomain(text string) (string, error) {
	name := strings.ToLower(text)
	name = strings.TrimSuffix(strings.TrimPrefix(name, "*."), ".")
	if len(name) > maxTunnelDomain {
		return "", fmt.Errorf("it is longer than %d characters, which leaves no room for subdomains", maxTunnelDomain)
	}
	if !isDomain(name) {
		return "", errUnreadable
	}
	return name, nil
}

// parseRawHost reads what clients dial: a name in lower case, without the dot of
// an absolute one, or an address without brackets.
func parseRawHost(text string) (string, error) {
	if addr, err := netip.ParseAddr(unbracket(text)); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	name := strings.TrimSuffix(strings.ToLower(text), ".")
	if len(name) > maxName || !isDomain(name) {
		return "", errUnreadable
	}
	return name, nil
}

// isDomain tells whether name is a lower-case host name of letters, digits and
// hyphens whose last label could not be taken for part of an IPv4 address.
func isDomain(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// parsePublicURL returns the URL in lower case and without a final slash.
func parsePublicURL(text string) (string, error) {
	lower := strings.TrimSuffix(strings.ToLower(text), "/")
	u, err := url.Parse(lower)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || lower != u.Scheme+"://"+u.Host {
		return "", errUnreadable
	}
	parent, found := strings.CutPrefix(u.Hostname(), "*.")
	if !found || !isDomain(parent) {
		return "", errUnreadable
	}
	if host, service, found := strings.Cut(u.Host, ":"); found {
		if n, err := strconv.ParseUint(service, 10, 16); err != nil || n == 0 || host != u.Hostname() {
			return "", errUnreadable
		}
	}
	return lower, nil
}

// orUnreadable hides a library's error where expected says more than it does.
func orUnreadable(err error) error {
	if err != nil {
		return errUnreadable
	}
	return nil
}
