package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestSmoke(t *testing.T) {
	base := os.Getenv("SMOKE")
	if base == "" {
		t.Skip()
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.(*net.TCPConn).CloseWrite() }()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	dial := func(q string, protos ...string) *websocket.Conn {
		d := websocket.Dialer{Subprotocols: protos}
		ws, r, err := d.Dial(fmt.Sprintf("ws://%s/relay?%s", base, q), nil)
		if err != nil {
			t.Fatal(err, r)
		}
		t.Log("selected", ws.Subprotocol())
		return ws
	}
	ws := dial(fmt.Sprintf("host=127.0.0.1&port=%d", port), "wsproxy.v1", "wsproxy.resume")
	var token string
	read := func() (int, []byte, error) {
		ws.SetReadDeadline(time.Now().Add(3 * time.Second))
		k, b, err := ws.ReadMessage()
		t.Logf("%d %q %v", k, b, err)
		if k == 1 {
			var m map[string]any
			json.Unmarshal(b, &m)
			if s, ok := m["resume"].(string); ok {
				token = s
			}
		}
		return k, b, err
	}
	var pos uint64
	send := func(s string) {
		pos += uint64(len(s))
		ws.WriteMessage(2, binary.BigEndian.AppendUint64([]byte(s), pos))
	}
	read()
	ws.WriteMessage(1, []byte(`{"type":"ack","bytes":0,"limit":65536}`))
	send("hello")
	read()
	send("world")
	time.Sleep(100 * time.Millisecond)
	ws.NetConn().Close()
	time.Sleep(100 * time.Millisecond)
	ws = dial("bytes=5&attempt=1", "wsproxy.resume", "resume."+token)
	read()
	read()
	read()
	send("again")
	read()
	read()
	ws.WriteMessage(1, []byte(`{"type":"ping"}`))
	read()
	old := ws
	ws = dial("bytes=10&attempt=2", "wsproxy.resume", "resume."+token)
	read()
	read()
	read()
	_, _, err := old.ReadMessage()
	t.Log(err)
	ws.WriteMessage(1, []byte(`{"type":"eof"}`))
	read()
	read()
	read()
}
