package sshclient

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// A bubbleConn is one end of a connection inside a bubble. Unlike that of net.Pipe it takes what is
// written before anybody reads it, as networks do.
type bubbleConn struct {
	net.Conn // whose addresses it has
	in       <-chan []byte
	out      chan<- []byte
	rest     []byte
	closed   chan struct{}
	once     *sync.Once
	muted    atomic.Bool // all that is written is lost
	lost     atomic.Int32
}

func bubblePipe() (*bubbleConn, *bubbleConn) {
	a, b := make(chan []byte, 1024), make(chan []byte, 1024)
	closed, once := make(chan struct{}), new(sync.Once)
	first, second := net.Pipe()
	return &bubbleConn{Conn: first, in: a, out: b, closed: closed, once: once}, &bubbleConn{Conn: second, in: b, out: a, closed: closed, once: once}
}

func (c *bubbleConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.in:
		case <-c.closed:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *bubbleConn) Write(p []byte) (int, error) {
	if c.muted.Load() {
		c.lost.Add(1)
		return len(p), nil
	}
	select {
	case c.out <- append([]byte(nil), p...):
		return len(p), nil
	case <-c.closed:
		return 0, io.ErrClosedPipe
	}
}

func (c *bubbleConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

const interval = 30 * time.Second

// bubble logs in to a server inside a bubble.
func bubble(t *testing.T, test func(t *testing.T, c *Client, conn *bubbleConn)) {
	t.Helper()
	_, hostKey := sshd.NewKey(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := bubblePipe()
		go func() {
			config := &ssh.ServerConfig{NoClientAuth: true}
			config.AddHostKey(hostKey)
			_, channels, requests, err := ssh.NewServerConn(theirs, config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			for channel := range channels {
				_ = channel.Reject(ssh.Prohibited, "")
			}
		}()
		o := options()
		o.KeepAlive = interval
		c, err := Connect(t.Context(), ours, o, &testHooks{decision: Once})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			c.Close()
			c.End()
		}()
		test(t, c, ours)
	})
}

func TestSilenceEnds(t *testing.T) {
	bubble(t, func(t *testing.T, c *Client, conn *bubbleConn) {
		c.SetAway(false)
		conn.muted.Store(true)
		start := time.Now()
		if end := c.End(); end.Reason != CodeKeepAlive {
			t.Errorf("ended by %+v", end)
		}
		// One until it is asked, and three without an answer.
		if took := time.Since(start); took < 3*interval || took > 5*interval {
			t.Errorf("ended after %v", took)
		}
	})
}

// Questions that are answered keep a connection, however long nothing else passes.
func TestAnsweredSilenceDoesNot(t *testing.T) {
	bubble(t, func(t *testing.T, c *Client, _ *bubbleConn) {
		c.SetAway(false)
		time.Sleep(24 * time.Hour)
		select {
		case <-c.Ended():
			t.Errorf("ended by %+v", c.End())
		default:
		}
	})
}

// While a relay holds the connection without a network, silence means nothing.
func TestAwayIsNoSilence(t *testing.T) {
	bubble(t, func(t *testing.T, c *Client, conn *bubbleConn) {
		c.SetAway(true)
		conn.muted.Store(true)
		time.Sleep(24 * time.Hour)
		select {
		case <-c.Ended():
			t.Errorf("ended by %+v", c.End())
		default:
		}
		if conn.lost.Load() != 1 {
			t.Errorf("%d questions were asked in vain, want 1", conn.lost.Load())
		}
		c.SetAway(false) // and the question was lost with it
		if end := c.End(); end.Reason != CodeKeepAlive {
			t.Errorf("ended by %+v", end)
		}
	})
}

// Nor does it, for long, before anybody has said that there is a network.
func TestSilenceThatNobodyJudges(t *testing.T) {
	bubble(t, func(t *testing.T, c *Client, conn *bubbleConn) {
		conn.muted.Store(true)
		time.Sleep(15 * time.Minute) // as long as a relay holds it
		select {
		case <-c.Ended():
			t.Errorf("ended by %+v", c.End())
		default:
		}
		if end := c.End(); end.Reason != CodeKeepAlive {
			t.Errorf("ended by %+v", end)
		}
	})
}

func TestServerThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := bubblePipe()
		defer theirs.Close()
		start := time.Now()
		_, err := Connect(t.Context(), ours, options(), &testHooks{})
		expectCode(t, err, CodeNetwork, "before an SSH server answered", "no answer")
		if took := time.Since(start); took != answerTime {
			t.Errorf("it took %v, want %v", took, answerTime)
		}
	})
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
