//go:build js

package main

import (
	"errors"

	"wsproxy/page/sshclient"
)

func openSFTP(*sshclient.Client) (any, error) { return nil, errors.New("not yet") }
