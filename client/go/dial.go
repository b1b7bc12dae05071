package wsproxy

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"wsproxy/transport/wsock/replay"
)

// DialOptions say what is dialled, and through which server.
type DialOptions struct {
	Server
	Host string // a name, which the server looks up, or an address
	Port int
}

// relayWindow is how much the server may send that was not read, in bytes: what
// it keeps for a session by default, so that more would not be used.
const relayWindow = 1 << 20

// Dial opens a TCP connection from the server to a host and a port of its side.
// ctx bounds the opening alone.
//
// The connection is a [*Conn]. It is there when the server has accepted it, which
// is before the server has reached the target, as nothing else is worth waiting
// for: if the target can't be reached the first Read returns a [*CloseError] with
// the server's reason. A server that refuses, because of the token, the target or
// a limit, makes Dial return a [*RefusedError].
func Dial(ctx context.Context, o DialOptions) (net.Conn, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(o.Host, "["), "]")
	if host == "" {
		return nil, errors.New("there is no host to dial")
	}
	if o.Port < 1 || o.Port > 65535 {
		return nil, errors.New("the port to dial must be from 1 to 65535, not " + strconv.Itoa(o.Port))
	}
	port := strconv.Itoa(o.Port)
	c := newConn(net.JoinHostPort(host, port))
	open := o.session(replay.Bytes, "/relay", url.Values{"host": {host}, "port": {port}})
	open.Source, open.Sink, open.Window = relay{c}, relay{c}, relayWindow
	if err := c.begin(ctx, open); err != nil {
		return nil, err
	}
	return c, nil
}
