package sshclient

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A muteConn loses all that is sent once it is muted, as a network that is gone.
type muteConn struct {
	net.Conn
	muted atomic.Bool
	lost  atomic.Int32
}

func (c *muteConn) Write(p []byte) (int, error) {
	if c.muted.Load() {
		c.lost.Add(1)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

const shortly = 20 * time.Millisecond

func mutable(t *testing.T) (*Client, *muteConn) {
	t.Helper()
	conn := &muteConn{Conn: serve(t, &ssh.ServerConfig{NoClientAuth: true})}
	o := options()
	o.KeepAlive = shortly
	c, err := connectTo(t, conn, o, &testHooks{})
	if err != nil {
		t.Fatal(err)
	}
	return c, conn
}

func TestSilenceEnds(t *testing.T) {
	t.Parallel()
	c, conn := mutable(t)
	c.SetAway(false)
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn.muted.Store(true)
	if end := c.End(); end.Reason != CodeKeepAlive {
		t.Errorf("ended by %+v", end)
	}
}

// Questions that are answered keep a connection, however long nothing else passes.
func TestAnsweredSilenceDoesNot(t *testing.T) {
	t.Parallel()
	c, conn := mutable(t)
	c.SetAway(false)
	select {
	case <-c.Ended():
		t.Errorf("ended by %+v", c.End())
	case <-time.After(20 * shortly):
	}
	if conn.lost.Load() != 0 {
		t.Error("something was lost")
	}
}

// While a relay holds the connection without a network, silence means nothing; nor does it before
// anybody has said that there is one.
func TestAwayIsNoSilence(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		c, conn := mutable(t)
		if told {
			c.SetAway(true)
		}
		conn.muted.Store(true)
		select {
		case <-c.Ended():
			t.Errorf("ended by %+v", c.End())
		case <-time.After(20 * shortly):
		}
		if conn.lost.Load() != 1 {
			t.Errorf("%d questions were asked in vain, want 1", conn.lost.Load())
		}
	}
}

// Who is away is so with all jump hosts.
func TestJumpHostsAreAwayToo(t *testing.T) {
	outer, inner := &Client{away: make(chan bool), ended: make(chan struct{})}, &Client{}
	inner.outer = outer
	told := make(chan bool)
	go func() { told <- <-outer.away }()
	inner.SetAway(true)
	if !<-told {
		t.Error("the jump host was told that the network is back")
	}
}
