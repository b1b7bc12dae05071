package reference

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

type tunnel struct {
	ws      *websocket.Conn
	mu      sync.Mutex // guards writes to ws, and the maps
	next    int
	pending map[string]chan message
	conns   map[string]net.Conn
}

type message struct {
	Type         string            `json:"type"`
	ID           string            `json:"id,omitempty"`
	ConnID       string            `json:"connId,omitempty"`
	TunnelURL    string            `json:"tunnelUrl,omitempty"`
	RawPort      int               `json:"rawPort,omitempty"`
	Method       string            `json:"method,omitempty"`
	Path         string            `json:"path,omitempty"`
	Status       int               `json:"status,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	Body         string            `json:"body,omitempty"`
	BodyEncoding string            `json:"bodyEncoding,omitempty"`
}

func (t *tunnel) control(m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ws.WriteMessage(websocket.TextMessage, data)
}

func (t *tunnel) id(what string) string {
	t.next++
	return fmt.Sprintf("%s%08d", what, t.next)
}

func (s *server) register(ws *websocket.Conn) {
	defer ws.Close()
	t := &tunnel{ws: ws, pending: map[string]chan message{}, conns: map[string]net.Conn{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return
	}
	defer l.Close()
	s.mu.Lock()
	name := fmt.Sprintf("ref%d", len(s.tunnels))
	s.tunnels[name] = t
	s.mu.Unlock()
	go t.accept(l)
	t.control(message{Type: "tunnel_ready", TunnelURL: "https://" + name + ".tunnel.localhost", RawPort: l.Addr().(*net.TCPAddr).Port})
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var m message
		switch {
		case kind == websocket.BinaryMessage && len(data) > 4:
			n := 4 + int(binary.BigEndian.Uint32(data))
			t.mu.Lock()
			c := t.conns[string(data[4:n])]
			t.mu.Unlock()
			if c != nil {
				c.Write(data[n:])
			}
		case json.Unmarshal(data, &m) != nil:
		case m.Type == "tcp_close":
			t.mu.Lock()
			c := t.conns[m.ConnID]
			delete(t.conns, m.ConnID)
			t.mu.Unlock()
			if c != nil {
				c.Close()
			}
		case m.Type == "http_response":
			t.mu.Lock()
			answer := t.pending[m.ID]
			delete(t.pending, m.ID)
			t.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		}
	}
}

func (t *tunnel) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		id := t.id("conn")
		t.conns[id] = c
		t.mu.Unlock()
		t.control(message{Type: "tcp_open", ConnID: id})
		go func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := c.Read(buf)
				if n > 0 {
					frame := binary.BigEndian.AppendUint32(nil, uint32(len(id)))
					frame = append(append(frame, id...), buf[:n]...)
					t.mu.Lock()
					t.ws.WriteMessage(websocket.BinaryMessage, frame)
					t.mu.Unlock()
				}
				if err != nil {
					t.control(message{Type: "tcp_close", ConnID: id})
					return
				}
			}
		}()
	}
}

func (s *server) request(name string, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	t := s.tunnels[name]
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if t == nil || err != nil {
		http.Error(w, "no such tunnel", http.StatusNotFound)
		return
	}
	answer := make(chan message, 1)
	t.mu.Lock()
	id := t.id("http")
	t.pending[id] = answer
	t.mu.Unlock()
	headers := map[string]string{}
	for k, v := range r.Header {
		headers[k] = strings.Join(v, ", ")
	}
	t.control(message{Type: "http_request", ID: id, Method: r.Method, Path: r.URL.RequestURI(), Headers: headers, Body: string(body)})
	select {
	case m := <-answer:
		for k, v := range m.Headers {
			w.Header().Set(k, v)
		}
		data := []byte(m.Body)
		if m.BodyEncoding == "base64" {
			data, _ = base64.StdEncoding.DecodeString(m.Body)
		}
		w.WriteHeader(m.Status)
		w.Write(data)
	case <-r.Context().Done():
	}
}
