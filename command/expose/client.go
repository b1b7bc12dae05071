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
		l, t, err := wsproxy.Listen(ctx, wsproxy.ListenOptions{
			Server: wsproxy.Server{
				URL: server.URL, Token: server.Token, TLS: server.TLS, NoResume: server.NoResume,
				OnDetached: func(err error) { r.OnDetached(explain(err)) },
				OnRetry:    func(err error) { r.OnRetry(explain(err)) },
				OnResumed:  r.OnResumed,
			},
			Name: r.Name, HostHeader: r.HostHeader, Raw: r.Raw,
		})
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
