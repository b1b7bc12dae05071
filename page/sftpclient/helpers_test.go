package sftpclient

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// A site is a directory that a real sshd serves, and a client of it.
type site struct {
	*Client
	dir string
}

func start(t *testing.T) site {
	t.Helper()
	s := sshd.Start(t)
	return site{connect(t, s, func(c ssh.Channel) io.ReadWriteCloser { return c }), t.TempDir()}
}

// connect opens SFTP on a server, over a channel that wrap may watch.
func connect(t *testing.T, s *sshd.Server, wrap func(ssh.Channel) io.ReadWriteCloser) *Client {
	t.Helper()
	conn, channels, requests, err := ssh.NewClientConn(s.Dial(t), s.Host, &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.Signer)}, HostKeyCallback: ssh.FixedHostKey(s.HostKey),
	})
	if err != nil {
		t.Fatalf("no login: %v\n%s", err, s.Log())
	}
	client := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() { client.Close() })
	channel, more, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(more)
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(&struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatalf("no SFTP: %v", err)
	}
	c, err := New(wrap(channel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s site) path(name string) string { return filepath.Join(s.dir, name) }

func (s site) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(s.path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return s.path(name)
}

func (s site) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// noise are bytes that are nowhere alike.
func noise(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.Read(data)
	return data
}

// pieces gives data in pieces of some size, from whatever position.
func pieces(data []byte, size int) func(int64) ([]byte, error) {
	return func(position int64) ([]byte, error) {
		if position >= int64(len(data)) {
			return nil, nil
		}
		return data[position:min(position+int64(size), int64(len(data)))], nil
	}
}

func expectCode(t *testing.T, err error, code Code, words ...string) {
	t.Helper()
	var own *Error
	if !errors.As(err, &own) {
		t.Fatalf("the error is %v, want one with the code %s", err, code)
	}
	if own.Code != code {
		t.Errorf("the code is %s (%v), want %s", own.Code, err, code)
	}
	for _, word := range words {
		if !strings.Contains(own.Message, word) {
			t.Errorf("the error says %q, and nothing of %q", own.Message, word)
		}
	}
}

// all reads a file.
func (s site) all(ctx context.Context, p string, from int64) ([]byte, ReadResult, error) {
	var got []byte
	result, err := s.Read(ctx, p, from, func(data []byte, position int64) error {
		if position != from+int64(len(got)) {
			return errors.New("a piece is out of turn")
		}
		got = append(got, data...)
		return nil
	})
	return got, result, err
}
