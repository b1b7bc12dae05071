package reference

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Serve serves until the context ends.
func Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: &server{tunnels: map[string]*tunnel{}}}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type server struct {
	mu      sync.Mutex
	tunnels map[string]*tunnel
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	switch name, _, _ := strings.Cut(r.Host, "."); {
	case r.URL.Path == "/relay":
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			relay(ws, net.JoinHostPort(r.URL.Query().Get("host"), r.URL.Query().Get("port")))
		}
	case r.URL.Path == "/tunnel":
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			s.register(ws)
		}
	case strings.HasPrefix(name, "ref"):
		s.request(name, w, r)
	}
}

func relay(ws *websocket.Conn, target string) {
	defer ws.Close()
	tcp, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	go func() {
		defer ws.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := tcp.Read(buf)
			if n > 0 && ws.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return
			}
			if err != nil {
				_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
				return
			}
		}
	}()
	defer tcp.Close()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if _, err := tcp.Write(data); err != nil {
			return
		}
	}
}
