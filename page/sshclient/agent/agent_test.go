package agent

import (
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

type named struct{ ssh.AlgorithmSigner }

func (named) Name() string { return "a name" }

// unknown is a key whose public half is hidden.
type unknown struct{ ssh.AlgorithmSigner }

func (unknown) PublicKey() ssh.PublicKey { return nil }

// A server that announces more than any request has is not waited for.
func TestLongRequestsAreNotKept(t *testing.T) {
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		(&agent{}).answerAll(ours)
		close(ended)
	}()
	if _, err := theirs.Write(binary.BigEndian.AppendUint32(nil, maxMessage+1)); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// A server that opens channels without end gets no more than some at once, and others when those are closed.
func TestChannelsAreBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, signer := sshd.NewKey(t)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	type side struct {
		conn ssh.Conn
		err  error
	}
	served := make(chan side, 1)
	go func() {
		conn, channels, requests, err := ssh.NewServerConn(far, config)
		if err == nil {
			go ssh.DiscardRequests(requests)
			go func() {
				for range channels {
				}
			}()
		}
		served <- side{conn, err}
	}()
	conn, channels, requests, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	t.Cleanup(func() { client.Close() })
	Serve(client, nil)
	server := <-served
	if server.err != nil {
		t.Fatal(server.err)
	}
	var opened []ssh.Channel
	for range maxChannels + 10 {
		channel, more, err := server.conn.OpenChannel("auth-agent@openssh.com", nil)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(more)
		opened = append(opened, channel)
	}
	if len(opened) != maxChannels {
		t.Fatalf("%d channels are open at once, want %d", len(opened), maxChannels)
	}
	if _, err := opened[0].Write([]byte{0, 0, 0, 0}); err != nil { // which makes no sense
		t.Fatal(err)
	}
	if _, err := opened[0].Read(make([]byte, 1)); err == nil { // it is closed
		t.Fatal("an empty request has an answer")
	}
	for { // its place is free a moment later
		if channel, more, err := server.conn.OpenChannel("auth-agent@openssh.com", nil); err == nil {
			go ssh.DiscardRequests(more)
			channel.Close()
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("no place gets free")
		}
	}
}

func FuzzAgent(f *testing.F) {
	_, signer := sshd.NewKey(f)
	a := &agent{keys: []Key{named{signer.(ssh.AlgorithmSigner)}, named{unknown{}}}}
	f.Add([]byte{requestIdentities})
	f.Add(append([]byte{signRequest}, ssh.Marshal(&struct {
		Key, Data []byte
		Flags     uint32
	}{signer.PublicKey().Marshal(), []byte("data"), 0})...))
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) == 0 {
			return
		}
		if len(a.answer(request)) == 0 {
			t.Error("no answer")
		}
	})
}
