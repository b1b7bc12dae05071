//go:build js

package main

import (
	"context"
	"syscall/js"
	"time"

	"wsproxy/page/sshclient"
)

// connect is GoAPI.connect.
func connect(_ js.Value, args []js.Value) any {
	return promise(func() (any, error) {
		conn := newDuplexConn(args[0])
		client, err := sshclient.Connect(context.Background(), conn, options(args[1]), hooks{args[2]})
		if err != nil {
			return nil, err
		}
		return bindClient(client), nil
	})
}

// options reads GoOptions.
func options(o js.Value) sshclient.Options {
	read := sshclient.Options{
		Host: text(o, "host"), Port: number(o, "port"), User: text(o, "user"), Password: text(o, "password"),
		KnownHosts: text(o, "knownHosts"), AgentForward: flag(o, "agentForward"),
		KeepAlive: time.Duration(number(o, "keepAliveSeconds")) * time.Second,
	}
	for _, key := range list(o, "keys") {
		read.Keys = append(read.Keys, sshclient.Key{
			PrivateKey: text(key, "privateKey"), Passphrase: text(key, "passphrase"), Certificate: text(key, "certificate"),
		})
	}
	for _, key := range list(o, "securityKeys") {
		read.SecurityKeys = append(read.SecurityKeys, sshclient.SecurityKey{
			PublicKey: text(key, "publicKey"), Application: text(key, "application"), CredentialID: text(key, "credentialId"),
		})
	}
	if jump := o.Get("jump"); jump.Type() == js.TypeObject {
		outer := options(jump)
		read.Jump = &outer
	}
	return read
}

// bindClient makes a GoClient.
func bindClient(client *sshclient.Client) js.Value {
	b := newBinding()
	background := context.Background()
	b.Set("serverVersion", client.ServerVersion())
	b.promises("openShell", func(args []js.Value) (any, error) { return openShell(client, args[0], args[1]) })
	b.promises("openSFTP", func([]js.Value) (any, error) { return openSFTP(client) })
	b.promises("dial", func(args []js.Value) (any, error) {
		stream, err := client.Dial(background, args[0].String(), args[1].Int())
		if err != nil {
			return nil, err
		}
		return bindStream(stream), nil
	})
	b.promises("ping", func([]js.Value) (any, error) {
		took, err := client.Ping(background)
		return float64(took) / float64(time.Millisecond), err
	})
	b.does("away", func(args []js.Value) any {
		away := first(args).Truthy()
		go client.SetAway(away)
		return nil
	})
	b.does("close", func([]js.Value) any {
		go client.Close()
		return nil
	})
	b.Set("closed", promise(func() (any, error) {
		end := client.End()
		b.release()
		return map[string]any{"reason": string(end.Reason), "message": end.Message}, nil
	}))
	return b.Value
}
