package expose

import (
	"context"

	wsproxy "wsproxy/client/go"
	"wsproxy/command/remote"
)

// Through opens tunnels of a server.
func Through(server remote.Server) Opener {
	return func(ctx context.Context, r Request) (*Tunnel, error) {
		explain := func(err error) error { return remote.Explain(err, server.Token != nil) }
		options := wsproxy.ListenOptions{Server: server.Client(), Name: r.Name, HostHeader: r.HostHeader, Raw: r.Raw}
		options.OnDetached = func(err error) { r.OnDetached(explain(err)) }
		options.OnRetry = func(err error) { r.OnRetry(explain(err)) }
		options.OnResumed = r.OnResumed
		l, t, err := wsproxy.Listen(ctx, options)
		if err != nil {
			return nil, explain(err)
		}
		return &Tunnel{
			URL: t.URL, RawAddr: t.RawAddr, Credentials: t.Credentials,
			HTTP: l, Raw: t.Raw, Done: t.Done(), Err: func() error { return explain(t.Err()) }, Shutdown: t.Shutdown,
			Taken: taken(server, t.URL),
		}, nil
	}
}
