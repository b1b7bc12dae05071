package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"wsproxy/transport/wsock/replay"
)

// The subprotocols of the contract.
const (
	protocolV1     = "wsproxy.v1"
	protocolResume = "wsproxy.resume"
	takeUpPrefix   = "resume." // and the session's token
)

// Options say how a server is reached. They are those of the public package.
type Options struct {
	URL      string // ws, wss, http or https; with a path prefix, if there is one
	Token    func(context.Context) (string, error)
	TLS      *tls.Config
	Proxy    func(*http.Request) (*url.URL, error)
	Header   http.Header
	NoResume bool // wsproxy.resume is not offered

	// UnsentLow has the kernel take little that can't be sent yet, for sessions that
	// decide late what goes next; it costs a call more of the kernel for each 32 KiB.
	UnsentLow bool

	// Connect opens a TCP connection to the server or its proxy; nil = the system's.
	Connect func(ctx context.Context, address string) (net.Conn, error)
}

// A TakeUp says which session a WebSocket is to take up, and where.
type TakeUp struct {
	Token    string
	Unit     replay.Unit
	Position uint64 // what was received
	Attempt  uint64 // higher each time
}

func (t *TakeUp) query() url.Values {
	return url.Values{
		t.Unit.Name(): {strconv.FormatUint(t.Position, 10)},
		"attempt":     {strconv.FormatUint(t.Attempt, 10)},
	}
}

// protocols returns what is offered.
func (o *Options) protocols(again *TakeUp) []string {
	switch {
	case again != nil:
		return []string{protocolResume, takeUpPrefix + again.Token}
	case o.NoResume:
		return []string{protocolV1}
	}
	return []string{protocolResume, protocolV1}
}

// endpoint returns the address of an endpoint of the server, with http or https
// for its scheme. An error names no query and no password.
func (o *Options) endpoint(path string, query url.Values) (*url.URL, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("the server's URL can't be read; it looks like wss://proxy.example.com")
	}
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("the server's URL must begin with ws://, wss://, http:// or https://, not %q", u.Scheme)
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("the server's URL has no host; it looks like wss://proxy.example.com")
	case u.User != nil:
		return nil, errors.New("the server's URL must not have a user name or a password; a token is an option of its own")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the server's URL must end with its path")
	}
	u = u.JoinPath(path)
	u.RawQuery = query.Encode()
	return u, nil
}
