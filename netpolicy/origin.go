package netpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Origins is the set of web origins that may use the proxy (ALLOWED_ORIGINS).
// The zero value allows none.
type Origins struct {
	any      bool
	patterns []originPattern
}

// origin is one as RFC 6454 section 4 has it, normalised: lower case, and the
// default port of the scheme written out.
type origin struct {
	scheme string
	host   string // a name, an address without brackets, or what opaque says
	port   uint16 // 0 when there is none and the scheme has no default
	// opaque says that host is neither a name nor an address, which it needn't
	// be where the scheme isn't of the web: app://-.
	opaque bool
}

type originPattern struct {
	origin
	anyPort    bool // host:*, with or without a port
	subdomains bool // *.host: any depth below host, host itself not
}

// defaultPorts are of the schemes in which an origin leaves its port away
// (WHATWG URL, "special scheme").
var defaultPorts = map[string]uint16{"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}

// ParseOrigins reads a comma-separated list of
//
//   - every origin, also "null"
//     https://app.example.com  exactly this one
//     app.example.com          the same over http and https
//     http://localhost:*       this scheme and host with any port, or none
//     https://*.example.com    any name below example.com, not that itself
//     app://-                  the pages of a desktop shell
//
// Scheme and host may be in any case; a default port may be written or left
// away; one slash may stand behind. Everything else is an error, so that no
// pattern is silently dead.
func ParseOrigins(s string) (Origins, error) {
	entries, err := splitList(s)
	if err != nil {
		return Origins{}, err
	}
	var o Origins
	for _, entry := range entries {
		if entry == "*" {
			o.any = true
			continue
		}
		patterns, err := parseEntry(entry)
		if err != nil {
			return Origins{}, err
		}
		o.patterns = append(o.patterns, patterns...)
	}
	return o, nil
}

// ParseExactOrigins reads a comma-separated list as [ParseOrigins] does, but
// without patterns. It returns each origin as browsers write it, which is fit
// to be compared byte for byte: in lower case, without a default port. One
// without a scheme becomes two.
func ParseExactOrigins(s string) ([]string, error) {
	entries, err := splitList(s)
	if err != nil {
		return nil, err
	}
	var origins []string
	for _, entry := range entries {
		if strings.Contains(entry, "*") {
			return nil, fmt.Errorf("%q is not one origin: patterns can't be used here", entry)
		}
		patterns, err := parseEntry(entry)
		if err != nil {
			return nil, err
		}
		for _, p := range patterns {
			origins = append(origins, p.String())
		}
	}
	return origins, nil
}

// String is the serialisation of RFC 6454 section 6.2.
func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.port == defaultPorts[o.scheme] {
		return o.scheme + "://" + host
	}
	return o.scheme + "://" + host + ":" + strconv.Itoa(int(o.port))
}

// Any reports whether every origin is allowed.
func (o Origins) Any() bool { return o.any }

// Allowed judges the value of an Origin header. Whether a request without the
// header passes is for the caller to say; "" is not an origin, and allowed only
// where all are.
func (o Origins) Allowed(origin string) bool {
	if o.any {
		return true
	}
	got, err := parseOrigin(origin)
	if err != nil {
		return false
	}
	for _, p := range o.patterns {
		if p.matches(got) {
			return true
		}
	}
	return false
}

func (p originPattern) matches(o origin) bool {
	if o.scheme != p.scheme || !p.anyPort && o.port != p.port {
		return false
	}
	if !p.subdomains {
		return o.host == p.host
	}
	// parseOrigin has seen to it that what stands before the dot is a name, if
	// the whole is one.
	below, ok := strings.CutSuffix(o.host, p.host)
	return ok && !o.opaque && len(below) > 1 && below[len(below)-1] == '.'
}

// parseEntry reads one entry of a list, which without a scheme is two patterns.
// The error quotes the entry, unless there may be a password in it.
func parseEntry(entry string) ([]originPattern, error) {
	text := entry
	if head, slash := strings.CutSuffix(entry, "/"); slash && !strings.HasSuffix(head, "/") {
		text = head
	}
	texts := []string{text}
	if isBareHost(text) {
		texts = []string{"http://" + text, "https://" + text}
	}
	var patterns []originPattern
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil && strings.Contains(entry, "@") {
			return nil, fmt.Errorf("an entry is not an origin: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not an origin: %w", entry, err)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// isBareHost reports whether an entry is a host that lacks its scheme. A single
// word is none: whoever writes "none" or "all" doesn't mean a host of that name.
func isBareHost(s string) bool {
	if strings.Contains(s, "/") {
		return false
	}
	host, port := splitPort(s)
	return port != "" || strings.ContainsAny(host, ".[") || strings.EqualFold(host, "localhost")
}

func parsePattern(s string) (originPattern, error) {
	var p originPattern
	if s == "null" {
		return p, errors.New(`it stands for any number of unrelated pages, so only "*" lets it in`)
	}
	if head, ok := strings.CutSuffix(s, ":*"); ok {
		p.anyPort = true
		s = head
	}
	if scheme, host, ok := strings.Cut(s, "://*."); ok {
		p.subdomains = true
		s = scheme + "://" + host
	}
	if strings.Contains(s, "*") {
		return p, errors.New(`a "*" may stand alone, as the port, or as the first label of the host, as in https://*.example.com`)
	}
	o, err := parseOrigin(s)
	if err != nil {
		return p, err
	}
	if p.anyPort && hasPort(s) {
		return p, errors.New("it has two ports")
	}
	if _, err := netip.ParseAddr(o.host); err == nil && p.subdomains {
		return p, errors.New("an address has no subdomains")
	}
	if o.opaque && p.subdomains {
		return p, errors.New("its host is no name, and has no subdomains")
	}
	p.origin = o
	return p, nil
}

// parseOrigin reads scheme://host[:port] and nothing more: no user, no path,
// not even a trailing slash.
func parseOrigin(s string) (origin, error) {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok {
		return origin{}, errors.New("it must begin with a scheme, as in https://example.com")
	}
	if len(authority) > maxName+len(":65535") {
		return origin{}, errors.New("it is too long")
	}
	o := origin{scheme: strings.ToLower(scheme)}
	if !validScheme(o.scheme) {
		return origin{}, errors.New("its scheme is malformed")
	}
	if i := strings.IndexAny(authority, "/?#\\"); i >= 0 {
		return origin{}, errors.New(`it must end with the host or port, without a path or "/"`)
	}
	if strings.Contains(authority, "@") {
		return origin{}, errors.New("it must not have a user in it")
	}
	host, port := splitPort(authority)
	o.port = defaultPorts[o.scheme]
	if port != "" {
		if o.port, ok = parsePort(port[1:]); !ok {
			return origin{}, errors.New("its port is not a number from 1 to 65535")
		}
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return origin{}, errors.New("an IPv6 address needs brackets around it")
	}
	name, addr, problem := parseHost(host)
	switch {
	case isOpaqueHost(o.scheme, host) && (problem != "" || strings.HasSuffix(host, ".")):
		o.host, o.opaque = strings.ToLower(host), true
		return o, nil
	case problem != "":
		return origin{}, errors.New("its host " + problem)
	case !addr.IsValid() && strings.HasSuffix(host, "."):
		// To a browser another origin than the one without.
		return origin{}, errors.New("its host ends with a dot")
	}
	if strings.HasPrefix(host, "[") {
		// To a browser [::ffff:192.0.2.1] is another origin than 192.0.2.1.
		name = netip.MustParseAddr(host[1 : len(host)-1]).String()
	}
	o.host = name
	return o, nil
}

// isOpaqueHost reports whether host is one that needn't be a name: of a scheme
// that isn't of the web, whose hosts WHATWG URL calls opaque. Desktop shells and
// browser extensions have such. Chromium calls a page from a file file://.
func isOpaqueHost(scheme, host string) bool {
	if _, web := defaultPorts[scheme]; web {
		return false
	}
	if host == "" {
		return scheme == "file"
	}
	return strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._~") == ""
}

// splitPort splits host:port; port is "" or begins with the colon.
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.LastIndexByte(authority, ']') > i {
		return authority, ""
	}
	return authority[:i], authority[i:]
}

func hasPort(s string) bool {
	_, authority, _ := strings.Cut(s, "://")
	_, port := splitPort(authority)
	return port != ""
}

// validScheme is RFC 3986 section 3.1, in lower case.
func validScheme(s string) bool {
	if s == "" || !isLower(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
