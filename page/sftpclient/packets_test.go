package sftpclient

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// A measured stream knows the longest of what is written at once, which is what a packet holds of a file.
type measured struct {
	io.ReadWriteCloser
	longest atomic.Int64
}

func (m *measured) Write(p []byte) (int, error) {
	if n := int64(len(p)); n > m.longest.Load() { // one at a time writes
		m.longest.Store(n)
	}
	return m.ReadWriteCloser.Write(p)
}

// Servers that tell their limits get large packets.
func TestLargePackets(t *testing.T) {
	t.Parallel()
	var stream measured
	s := site{connect(t, sshd.Start(t), func(c ssh.Channel) io.ReadWriteCloser {
		stream.ReadWriteCloser = c
		return &stream
	}), t.TempDir()}
	roundTrip(t, s)
	if n := stream.longest.Load(); n != largePacket {
		t.Errorf("a packet has %d bytes of a file, want %d", n, largePacket)
	}
}

// Others get what every server takes.
func TestSmallPackets(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	server, err := sftp.NewServer(far)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve()
	}()
	stream := measured{ReadWriteCloser: near}
	client, err := New(&stream)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		client.Close()
		far.Close()
		<-served
	}()
	roundTrip(t, site{client, t.TempDir()})
	if n := stream.longest.Load(); n != smallPacket {
		t.Errorf("a packet has %d bytes of a file, want %d", n, smallPacket)
	}
}

func roundTrip(t *testing.T, s site) {
	t.Helper()
	data := noise(3<<20 + 7)
	if err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: int64(len(data))}, pieces(data, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.read(t, "file"), data) {
		t.Error("other bytes are there than were written")
	}
	if got, _, err := s.all(t.Context(), s.path("file"), 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes were read, %v", len(got), err)
	}
}
