package expose

import (
	"fmt"
	"strings"

	"wsproxy/command/expose/rawtcp"
	"wsproxy/command/expose/target"
)

// Options are what a user asks for. The zero value of each field but Targets is the
// usual.
type Options struct {
	// Targets are what is exposed, in the notation of package target.
	Targets []string
	// Name is the tunnel's, so that its address is the same each time; for one target.
	Name string
	// HostHeader is what services are told as Host in the place of the public name.
	HostHeader string
	// BasicAuthFile has the names and passwords that outside clients are asked for.
	BasicAuthFile string
	// ProxyProtocol is v1 or v2 to tell TCP services who is at the other end, else "".
	ProxyProtocol string
	// Inspect is the address of the page of requests, "" for none.
	Inspect string
	// Open opens the address in a browser.
	Open bool
	// JSON writes an object a line on standard output.
	JSON bool
	// Quiet writes no line for each request, and no live line.
	Quiet bool
}

// maxHostHeader bounds the name that services are told: that of a host with a port.
const maxHostHeader = 260

// A UsageError says what is wrong with the options, in a sentence.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the sentence.
func (e *UsageError) Unwrap() error { return e.Err }

func misuse(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// check reads the targets and what concerns them.
func (o *Options) check() ([]target.Target, rawtcp.Version, error) {
	targets, err := target.ParseAll(o.Targets)
	if err != nil {
		return nil, 0, &UsageError{err}
	}
	if o.Name != "" {
		if len(targets) > 1 || targets[0].Name != "" {
			return nil, 0, misuse("--name is for one target without a name of its own: write NAME=TARGET for each")
		}
		if err := target.CheckName(o.Name); err != nil {
			return nil, 0, &UsageError{err}
		}
		targets[0].Name = o.Name
	}
	version, err := rawtcp.ParseVersion(o.ProxyProtocol)
	if err != nil {
		return nil, 0, &UsageError{err}
	}
	http, tcp := false, false
	for _, t := range targets {
		if t.Kind == target.TCP {
			tcp = true
		} else {
			http = true
		}
	}
	switch {
	case version != 0 && !tcp:
		return nil, 0, misuse("--proxy-protocol is for targets of the form tcp:PORT: HTTP services find the address in X-Forwarded-For")
	case o.BasicAuthFile != "" && tcp:
		return nil, 0, misuse("--basic-auth-file asks clients of HTTP: a target of the form tcp:PORT would be open to everybody; expose it by a command of its own")
	case o.HostHeader != "" && !http:
		return nil, 0, misuse("--host-header is for services that speak HTTP")
	case o.Inspect != "" && !http:
		return nil, 0, misuse("--inspect is for services that speak HTTP")
	case len(o.HostHeader) > maxHostHeader || strings.ContainsFunc(o.HostHeader, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }):
		return nil, 0, misuse("--host-header is a name and maybe a port, such as localhost:5173")
	}
	return targets, version, nil
}
