package main

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// Where it could be reached from elsewhere, or by somebody else's port, it doesn't
// run. The server named here would end at once.
func TestWhereItDoesNotRun(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, c := range []struct{ bind, port, want string }{
		{"0.0.0.0", "0", "unset BIND"},
		{"192.0.2.1", "0", "unset BIND"},
		{"::", "0", "unset BIND"},
		{"example.com", "0", "unset BIND"},
		{"127.0.0.1", port, "a port of its own"},
		{"", port, "a port of its own"},
		{"127.0.0.1", "0", "a port of its own"},
	} {
		t.Setenv("BIND", c.bind)
		t.Setenv("PORT", c.port)
		if err := run("true", make(chan os.Signal), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("at %s:%s it says %v", c.bind, c.port, err)
		}
	}
}

// When its server ends it ends, and says so.
func TestServerThatEnds(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	t.Setenv("BIND", "127.0.0.1")
	t.Setenv("PORT", port)
	if err := run("false", make(chan os.Signal), io.Discard); err == nil || !strings.Contains(err.Error(), "the server ended, exit status 1") {
		t.Errorf("it says %v", err)
	}
	if err := run("/nowhere/wsproxy", make(chan os.Signal), io.Discard); err == nil || !strings.Contains(err.Error(), "can't be started") {
		t.Errorf("without a server it says %v", err)
	}
}
