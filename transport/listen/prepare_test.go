package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// Who makes no handshake is waited for, but not for ever.
func TestHandshakesHaveAnEnd(t *testing.T) {
	r := secureRoad(t)
	defer r.Close()
	if r.handshake != 10*time.Second {
		t.Errorf("it may take %v", r.handshake)
	}
	r.handshake = 100 * time.Millisecond
	conn, err := net.Dial("tcp4", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "\x16\x03\x01") // half a header
	accepted, err := r.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	refused := make(chan *Error, 1)
	began := time.Now()
	go func() {
		_, no := r.Prepare(t.Context(), accepted)
		refused <- no
	}()
	no := testkit.Receive(t, refused)
	if took := time.Since(began); no == nil || no.Reason != messages.ReasonTLSHandshake || !errors.Is(no, context.DeadlineExceeded) || took < r.handshake {
		t.Errorf("after %v: %v", took, no)
	}
}

// A listener is bare that has nothing before its HTTP.
func TestBareListeners(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if bare, ok := New(l, Options{}).Bare(); !ok || bare != l {
		t.Error("a listener with nothing before its HTTP is none")
	}
	unix := openUnix(t)
	defer unix.Close()
	if _, ok := New(unix, Options{}).Bare(); ok {
		t.Error("a Unix socket's is one")
	}
}

// A handshake that waits for a certificate ends at its time, and when nobody wants the
// connection any more, however long the certificate takes.
func TestHandshakesDoNotWaitForCertificates(t *testing.T) {
	for _, dropped := range []bool{false, true} {
		r := secureRoad(t)
		defer r.Close()
		asked := make(chan struct{}, 1)
		r.options.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			asked <- struct{}{}
			<-hello.Context().Done()
			return nil, hello.Context().Err()
		}}
		if !dropped {
			r.handshake = 100 * time.Millisecond
		}
		client, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer r.bare(client).Close()
		go func() { _ = client.(*tls.Conn).Handshake() }()
		accepted, err := r.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		refused := make(chan *Error, 1)
		began := time.Now()
		go func() {
			_, no := r.Prepare(ctx, accepted)
			refused <- no
		}()
		testkit.Receive(t, asked)
		if dropped {
			cancel()
		}
		no := testkit.Receive(t, refused)
		if took := time.Since(began); no == nil || no.Reason != messages.ReasonTLSHandshake || took >= handshakeTimeout {
			t.Errorf("dropped %v: after %v: %v", dropped, took, no)
		}
	}
}
