package sshclient

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// testHooks are a person who answers from a list, and notes what was asked.
type testHooks struct {
	mu         sync.Mutex
	answers    [][]string // nil gives up
	decision   Decision
	sign       func(q WebAuthnQuestion) (WebAuthnAnswer, error)
	onAsk      func(ctx context.Context)
	asked      []Question
	hostKeys   []HostKeyQuestion
	remembered []string
	banners    []string
	steps      []string
	learned    chan string
}

func (h *testHooks) Ask(ctx context.Context, q Question) ([]string, error) {
	h.mu.Lock()
	h.asked = append(h.asked, q)
	var next []string
	if len(h.answers) > 0 {
		next, h.answers = h.answers[0], h.answers[1:]
	}
	h.mu.Unlock()
	if h.onAsk != nil {
		h.onAsk(ctx)
	}
	return next, nil
}

func (h *testHooks) HostKey(_ context.Context, q HostKeyQuestion) (Decision, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hostKeys = append(h.hostKeys, q)
	return h.decision, nil
}

func (h *testHooks) Remember(line string) {
	h.mu.Lock()
	h.remembered = append(h.remembered, line)
	h.mu.Unlock()
	if h.learned != nil {
		h.learned <- line
	}
}

func (h *testHooks) SignWebAuthn(_ context.Context, q WebAuthnQuestion) (WebAuthnAnswer, error) {
	if h.sign == nil {
		return WebAuthnAnswer{}, errors.New("there is no security key")
	}
	return h.sign(q)
}

func (h *testHooks) Banner(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.banners = append(h.banners, text)
}

func (h *testHooks) Step(step, _ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, step)
}

// kinds are those of the questions that were asked, with their attempts.
func (h *testHooks) kinds() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var kinds []string
	for _, q := range h.asked {
		kinds = append(kinds, q.Kind+strings.Repeat("!", q.Attempt-1))
	}
	return kinds
}

func (h *testHooks) expectKinds(t *testing.T, want ...string) {
	t.Helper()
	if got := h.kinds(); !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// serve runs a server of x/crypto for one connection and returns the client's side of it.
func serve(t *testing.T, config *ssh.ServerConfig) net.Conn {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	return accept(t, func(conn net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			conn.Close()
			return
		}
		go ssh.DiscardRequests(requests)
		for channel := range channels {
			_ = channel.Reject(ssh.Prohibited, "nothing\x1b[31m here")
		}
	})
}

// accept returns a connection to a server that handles it.
func accept(t *testing.T, handle func(net.Conn)) net.Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		handle(conn)
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		listener.Close()
		<-ended
	})
	return conn
}

// options are those for a server of serve.
func options() Options { return Options{Host: "host.example", Port: 22, User: "me"} }

// of are the options for an sshd, which is known.
func of(s *sshd.Server) Options {
	return Options{Host: s.Host, Port: s.Port, User: s.User, KnownHosts: s.KnownHosts(), Keys: []Key{{PrivateKey: s.Key}}}
}

// login connects, which must succeed.
func loginTo(t *testing.T, s *sshd.Server, o Options, h *testHooks) *Client {
	t.Helper()
	c, err := Connect(t.Context(), s.Dial(t), o, h)
	if err != nil {
		t.Fatalf("no login: %v\n%s", err, s.Log())
	}
	t.Cleanup(func() {
		c.Close()
		c.End()
	})
	return c
}

// connectTo connects to a server of serve.
func connectTo(t *testing.T, conn net.Conn, o Options, h *testHooks) (*Client, error) {
	t.Helper()
	if h.decision == "" {
		h.decision = Once
	}
	c, err := Connect(t.Context(), conn, o, h)
	if err == nil {
		t.Cleanup(func() {
			c.Close()
			c.End()
		})
	}
	return c, err
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

// output runs a command and returns what it prints on both outputs.
func output(t *testing.T, c *Client, command string) (string, ShellEnd) {
	t.Helper()
	var mu sync.Mutex
	var text strings.Builder
	shell, err := c.OpenShell(t.Context(), ShellOptions{Command: command}, func(data []byte, _ bool) error {
		mu.Lock()
		defer mu.Unlock()
		text.Write(data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	end := shell.End()
	return text.String(), end
}
