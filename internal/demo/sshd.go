package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// demoUser is the one user that there is.
const demoUser = "demo"

const (
	// passwordSize is how many letters a password has: 80 bits, which nobody
	// guesses, and which can still be typed.
	passwordSize = 16
	// loginTime is how long a client may take until it is logged in.
	loginTime = time.Minute
	// maxConns is how many connections there may be. One page has one for each tab.
	maxConns = 50
)

// An sshServer lets one user in by a password, to this process's own rights.
type sshServer struct {
	password string
	listener net.Listener
	key      ssh.Signer
	config   *ssh.ServerConfig

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // under mu; nil when it is closed
	served sync.WaitGroup        // a connection each, and the listener
}

// listen starts a server with a new key and a new password on a free port of
// loopback.
func listen() (*sshServer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the SSH server can't listen: %w", err)
	}
	s := &sshServer{password: rand.Text()[:passwordSize], listener: l, key: key, conns: make(map[net.Conn]struct{})}
	s.config = &ssh.ServerConfig{PasswordCallback: s.login, ServerVersion: "SSH-2.0-wsproxy-demo"}
	s.config.AddHostKey(key)
	s.served.Go(s.accept)
	return s, nil
}

func (s *sshServer) address() string     { return s.listener.Addr().String() }
func (s *sshServer) port() int           { return s.listener.Addr().(*net.TCPAddr).Port }
func (s *sshServer) fingerprint() string { return ssh.FingerprintSHA256(s.key.PublicKey()) }

func (s *sshServer) login(who ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	if subtle.ConstantTimeCompare([]byte(who.User()), []byte(demoUser))&subtle.ConstantTimeCompare(password, []byte(s.password)) != 1 {
		return nil, errors.New("another user or password")
	}
	return nil, nil
}

// close ends all sessions with what they run, and returns when they are gone.
func (s *sshServer) close() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.served.Wait()
}

func (s *sshServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		if !s.add(conn) {
			conn.Close()
			continue
		}
		s.served.Go(func() {
			defer s.remove(conn)
			s.serve(conn)
		})
	}
}

func (s *sshServer) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= maxConns {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *sshServer) remove(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// serve runs one connection, and returns when all that it has opened has ended.
func (s *sshServer) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(loginTime))
	client, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // whoever it was has not come in
	}
	defer client.Close()
	_ = conn.SetDeadline(time.Time{})
	go ssh.DiscardRequests(requests) // a keepalive's answer is a no, as it is with sshd
	var opened sync.WaitGroup
	defer opened.Wait()
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			opened.Go(func() { runSession(channel) })
		case "direct-tcpip":
			opened.Go(func() { forward(channel) })
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "this server has sessions and direct-tcpip")
		}
	}
}
