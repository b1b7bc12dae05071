package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialTime is how long a port of this machine may take to accept.
const dialTime = 10 * time.Second

// forward joins a channel to a port of this machine, which is how the page
// shares one. Others it doesn't reach: the demo is no way into a network.
func forward(asked ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}
	if ssh.Unmarshal(asked.ExtraData(), &to) != nil || to.Port == 0 || to.Port > 65535 {
		_ = asked.Reject(ssh.ConnectionFailed, "the host or port can't be read")
		return
	}
	if !isOwn(to.Host) {
		_ = asked.Reject(ssh.Prohibited, "this server forwards to ports of its own machine only, such as localhost")
		return
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), dialTime)
	if err != nil {
		_ = asked.Reject(ssh.ConnectionFailed, fmt.Sprintf("nothing answers on port %d of %s", to.Port, to.Host))
		return
	}
	defer conn.Close()
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	target := conn.(*net.TCPConn)
	// Each way ends by itself; a way that fails ends both.
	var ways sync.WaitGroup
	ways.Go(func() {
		if _, err := io.Copy(target, channel); err != nil || target.CloseWrite() != nil {
			target.Close()
		}
	})
	ways.Go(func() {
		if _, err := io.Copy(channel, target); err != nil || channel.CloseWrite() != nil {
			channel.Close()
			target.Close()
		}
	})
	ways.Wait()
}

func isOwn(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
