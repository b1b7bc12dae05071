//go:build js

package main

import (
	"math"
	"syscall/js"
	"time"

	"wsproxy/page/sshclient"
)

// generateKey is GoAPI.generateKey.
func generateKey(_ js.Value, args []js.Value) any {
	return promise(func() (any, error) {
		key, err := sshclient.GenerateKey(text(args[0], "comment"), text(args[0], "passphrase"))
		if err != nil {
			return nil, err
		}
		return map[string]any{"privateKey": key.Private, "publicKey": key.Public, "fingerprint": key.Fingerprint}, nil
	})
}

// describeKey is GoAPI.describeKey.
func describeKey(_ js.Value, args []js.Value) any {
	return promise(func() (any, error) {
		passphrase := ""
		if len(args) > 1 && args[1].Type() == js.TypeString {
			passphrase = args[1].String()
		}
		key, err := sshclient.DescribeKey(args[0].String(), passphrase)
		if err != nil {
			return nil, err
		}
		described := map[string]any{
			"type": key.Type, "fingerprint": key.Fingerprint, "comment": key.Comment,
			"publicKey": key.Public, "encrypted": key.Encrypted,
		}
		if cert := key.Certificate; cert != nil {
			principals := make([]any, len(cert.Principals))
			for i, name := range cert.Principals {
				principals[i] = name
			}
			described["certificate"] = map[string]any{
				"keyId": cert.KeyID, "serial": cert.Serial, "principals": principals,
				"validFrom": millis(cert.ValidAfter, 0), "validTo": millis(cert.ValidBefore, math.Inf(1)),
				"authority": cert.Authority, "type": cert.Kind,
			}
		}
		return described, nil
	})
}

// millis is a time in milliseconds since 1970, or what it is when there is none.
func millis(at time.Time, none float64) float64 {
	if at.IsZero() {
		return none
	}
	return float64(at.UnixMilli())
}

// fingerprint is GoAPI.fingerprint. What is no key has an empty one,
// as a function of Go can't throw.
func fingerprint(_ js.Value, args []js.Value) any {
	key, err := sshclient.DescribeKey(first(args).String(), "")
	if err != nil {
		return ""
	}
	return key.Fingerprint
}
