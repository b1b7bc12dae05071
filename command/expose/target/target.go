package target

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// A Kind is what stands behind a tunnel.
type Kind uint8

// The kinds.
const (
	HTTP   Kind = iota // a service that speaks HTTP
	HTTPS              // a service that speaks HTTPS
	Folder             // files, served here
	TCP                // a service of any kind, on a raw port
)

// A Target is one thing to expose.
type Target struct {
	Name  string // "" if none was given
	Kind  Kind
	Host  string // of all but folders; without brackets
	Port  string
	Path  string // of folders, as it was given
	Given string // without the name
}

// Address is the host and the port, with brackets where they are needed.
func (t Target) Address() string { return net.JoinHostPort(t.Host, t.Port) }

// String is how a person names it.
func (t Target) String() string {
	switch t.Kind {
	case HTTPS:
		return "https://" + t.Address()
	case Folder:
		return t.Path
	case TCP:
		return "tcp:" + t.Address()
	}
	return t.Address()
}

// Loopback reports whether the service is on this machine for certain.
func (t Target) Loopback() bool {
	if strings.EqualFold(strings.TrimSuffix(t.Host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(t.Host)
	return err == nil && addr.Unmap().IsLoopback()
}

// ParseAll reads the targets of a command line. Several need names, each another.
func ParseAll(args []string) ([]Target, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("there is nothing to expose: name a port, such as 3000, or a folder, such as ./site")
	}
	targets := make([]Target, 0, len(args))
	taken := make(map[string]string, len(args))
	for _, arg := range args {
		t, err := Parse(arg)
		if err != nil {
			return nil, err
		}
		if len(args) > 1 && t.Name == "" {
			return nil, fmt.Errorf("of several targets each needs a name: write %s=%s", suggestName(len(targets)), arg)
		}
		if other, ok := taken[t.Name]; ok {
			return nil, fmt.Errorf("%s and %s have the same name: each needs its own", other, arg)
		}
		taken[t.Name] = arg
		targets = append(targets, t)
	}
	return targets, nil
}

func suggestName(i int) string {
	return []string{"web", "api", "db"}[min(i, 2)]
}

// Parse reads one target. Its errors are sentences that say what is expected.
func Parse(arg string) (Target, error) {
	t := Target{Given: arg}
	if name, rest, ok := strings.Cut(arg, "="); ok && looksLikeName(name) {
		if err := CheckName(name); err != nil {
			return Target{}, err
		}
		t.Name, t.Given = name, rest
	}
	err := t.parse(t.Given)
	if err != nil {
		return Target{}, err
	}
	return t, nil
}

func (t *Target) parse(s string) error {
	scheme, rest, isURL := strings.Cut(s, "://")
	switch {
	case s == "":
		return fmt.Errorf("a target is missing: write a port, an address, a URL or a folder")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the target %q has control characters in it", s)
	case isFolder(s):
		t.Kind, t.Path = Folder, s
		return nil
	case isURL && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")):
		return t.parseURL(s)
	case isURL && strings.EqualFold(scheme, "tcp"):
		return t.parseTCP(s, rest)
	case isURL:
		return fmt.Errorf("%s: %s:// is not known here: http://, https:// and tcp: are", s, scheme)
	case len(s) >= 4 && strings.EqualFold(s[:4], "tcp:"):
		return t.parseTCP(s, s[4:])
	case strings.Contains(s, "/"):
		return fmt.Errorf("%s could be a folder or an address: write ./%s for the folder, http://… for the address", s, s)
	}
	return t.parseAddress(s, s)
}

// isFolder reports whether a target names files. What could be a host is none.
func isFolder(s string) bool {
	if s == "." || s == ".." || s == "~" || filepath.IsAbs(s) {
		return true
	}
	for _, prefix := range []string{"/", "./", "../", "~/", `.\`, `..\`, `\`} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func (t *Target) parseTCP(given, address string) error {
	t.Kind = TCP
	if address == "" || strings.Trim(address, "/") != address {
		return fmt.Errorf("%s: write tcp:PORT or tcp:HOST:PORT", given)
	}
	return t.parseAddress(given, address)
}

// parseURL reads a URL that is no more than a scheme, a host and a port.
func (t *Target) parseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%s is no URL that can be read", s)
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("the URL of a target has no user and password: outside clients send their own, and --basic-auth-file asks for them here")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("%s: a target has no path: paths reach the service as outside clients ask for them", s)
	case u.Hostname() == "":
		return fmt.Errorf("%s has no host", s)
	}
	t.Kind = HTTP
	port := u.Port()
	if strings.EqualFold(u.Scheme, "https") {
		t.Kind = HTTPS
		if port == "" {
			port = "443"
		}
	} else if port == "" {
		port = "80"
	}
	return t.setAddress(s, u.Hostname(), port)
}

// parseAddress reads PORT, :PORT, HOST:PORT and [ADDRESS]:PORT.
func (t *Target) parseAddress(given, s string) error {
	if isDigits(s) {
		return t.setAddress(given, "localhost", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && addr.Is6() {
			return fmt.Errorf("%s has no port: write [%s]:3000", given, addr)
		}
		if strings.Contains(s, ":") {
			return fmt.Errorf("%s is no address: write HOST:PORT, and [ADDRESS]:PORT for IPv6", given)
		}
		if t.Kind == TCP {
			return fmt.Errorf("%s has no port: write tcp:%s:22", given, s)
		}
		return fmt.Errorf("%s has no port: write %s:3000, or ./%s if it is a folder", given, s, s)
	}
	if host == "" {
		host = "localhost"
	}
	return t.setAddress(given, host, port)
}

func (t *Target) setAddress(given, host, port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || !isDigits(port) {
		return fmt.Errorf("%s: a port is a number from 1 to 65535", given)
	}
	if !isHost(host) {
		return fmt.Errorf("%s: %q is no name of a host and no address", given, host)
	}
	t.Host, t.Port = host, strconv.FormatUint(n, 10)
	return nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isHost reports whether s may be a host's name or address. Whether it is one is for
// the resolver to say.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// looksLikeName tells a name in front of = from a path that has one in it.
func looksLikeName(s string) bool {
	return !strings.ContainsAny(s, `/\:.[]~`)
}

// CheckName says in a sentence what is wrong with a tunnel's name.
func CheckName(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q can't be the name of a tunnel: it is 1 to 64 of a to z, 0 to 9 and -", name)
	}
	return nil
}
