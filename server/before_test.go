package server

import (
	"testing"

	"wsproxy/config"
)

// Connections that have ended have no more places than those that there are.
func TestLingeringConnectionsAreFewWhereConnectionsAre(t *testing.T) {
	s := &service{config: config.Config{MaxHTTPConns: 113}}
	if o, err := s.before(); err != nil || o.MostLinger != 113 {
		t.Errorf("%d may linger, %v", o.MostLinger, err)
	}
}
