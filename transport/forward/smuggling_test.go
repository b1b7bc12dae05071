package forward

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/stricthttp"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/netpolicy"
	"wsproxy/transport/tunnel"
)

// A strictService is the client of a tunnel and the service behind it: it reads what
// comes as strictly as RFC 9112 allows, and answers what it can read.
type strictService struct {
	ws   *websocket.Conn
	host string

	mu    sync.Mutex
	conns map[string]*io.PipeWriter // what comes of each connection; under mu, as all that follows
	got   []stricthttp.Request
	bad   error // the first that could not be read
}

func newStrictService(t testing.TB) (s *strictService, address string) {
	house := tunnelrig.NewHouse(t, tunnelrig.HouseSettings{
		Dialect: func(m *tunnel.Mux) tunnel.Dialect { return NewBytes(m, tunnel.Text, "") }, Bytes: true, Total: 64 << 20, Timeout: testkit.Patience,
		Forward: func(h *tunnelrig.House) func(http.ResponseWriter, *http.Request, string) {
			g := NewGateway(Settings{
				Root: h.System.Root, Limits: h.Limits, Handler: h.Handler, Exists: h.Exists, HTTPTimeout: testkit.Patience,
				Sources: netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}), ForwardCredentials: true, Refused: &meter{}, Log: h.System.Logger(),
			})
			return g.Forward
		},
	})
	s = &strictService{conns: make(map[string]*io.PipeWriter)}
	s.ws, s.host = house.Open(t)
	go s.serve()
	return s, house.Address
}

func (s *strictService) send(kind int, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ws.WriteMessage(kind, p)
}

func (s *strictService) serve() {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, conn := range s.conns {
			conn.CloseWithError(errCut)
		}
	}()
	for {
		kind, p, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		var m struct{ Type, ConnID string }
		if kind == websocket.TextMessage {
			_ = json.Unmarshal(p, &m)
		} else {
			m.Type, m.ConnID, p = "data", string(p[4:16]), p[16:]
		}
		s.mu.Lock()
		conn := s.conns[m.ConnID]
		if m.Type == "tcp_open" {
			var in *io.PipeReader
			in, conn = io.Pipe()
			s.conns[m.ConnID] = conn
			go s.answer(m.ConnID, in)
		}
		s.mu.Unlock()
		switch m.Type {
		case "data":
			_, _ = conn.Write(p)
		case "tcp_close":
			conn.CloseWithError(errCut)
		}
	}
}

var errCut = errors.New("the connection was reset")

// answer reads the requests of a connection. One that is cut is none.
func (s *strictService) answer(id string, in *io.PipeReader) {
	defer in.Close()
	for reader := bufio.NewReader(in); ; {
		r, err := stricthttp.Read(reader)
		if errors.Is(err, errCut) {
			return
		}
		s.mu.Lock()
		if err != nil && s.bad == nil {
			s.bad = err
		}
		s.got = append(s.got, r)
		s.mu.Unlock()
		if err != nil {
			return
		}
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id...)
		s.send(websocket.BinaryMessage, append(frame, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"...))
	}
}

// take returns the requests that were read since the last call.
func (s *strictService) take() (got []stricthttp.Request, bad error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, bad, s.got, s.bad = s.got, s.bad, nil, nil
	return got, bad
}

// Whatever comes from outside, what reaches a service is well-formed to the letter; and
// what is so from the beginning reaches it as it was meant.
func FuzzOutsideToService(f *testing.F) {
	for _, seed := range []string{
		"GET /a?b HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nbodyGET /2 HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n4;a=b\r\nbody\r\n0\r\nX: y\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: HOST\r\nA: b\r\n folded\r\nC: d\re\r\nTransfer-Encoding : chunked\r\n\r\n",
		"GET http://HOST/x HTTP/1.0\r\nHost: HOST\r\nConnection: X, Upgrade\r\nX: 1\r\nUpgrade: h2c\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n",
		"OPTIONS * HTTP/1.1\nHost: HOST\nCookie: a\nCookie: b\nContent_Length: 5\n\n",
		"GE\x00T /\x80 HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: HOST\r\nConnection: Content-Length, Host, Transfer-Encoding, X-Forwarded-For\r\nContent-Length: 4\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: HOST\r\nTrailer: Content_Length, X-Forwarded-For, Y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent_Length: 9\r\nX-Forwarded-For: 1\r\nY: \xff z\r\nHost: a\r\n\r\n",
		"GET /\xf9\xf9a\xc3\xa4?\xff=b HTTP/1.1\r\nHost: HOST\r\n\r\n",
		"POST /\xc3\xa4?\xff#f HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
		"OPTIONS http://HOST HTTP/1.1\r\nHost: HOST\r\n\r\nM!#$%&'*+-.^_`|~ //a/../b%2f?? HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-For: 1\r\nX_Forwarded_For: 2\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: x/1\r\n\r\nGET /2 HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nTE: trailers, deflate;q=0.5\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	service, address := newStrictService(f)
	var execs uint32
	f.Fuzz(func(t *testing.T, in []byte) {
		in = bytes.ReplaceAll(in, []byte("HOST"), []byte(service.host))
		execs++ // what comes late of an execution is known by its source
		source := netip.AddrFrom4([4]byte{127, 1 + byte(execs>>16)%250, byte(execs >> 8), byte(execs)})
		conn, err := (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}).Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // what is half a request waits for its rest
		_, _ = conn.Write(in)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		got, bad := service.take()
		if bad != nil {
			t.Fatalf("of %q comes what can't be read: %v", in, bad)
		}
		got = slices.DeleteFunc(got, func(r stricthttp.Request) bool {
			return !slices.Equal(r.Values("X-Forwarded-For"), []string{source.String()})
		})
		wantMeant(t, in, service.host, got)
	})
}

// escaped returns a target in which each byte that is no part of valid UTF-8 is %XX.
func escaped(target string) (s string) {
	for len(target) > 0 {
		_, size := utf8.DecodeRuneInString(target)
		char := target[:size]
		if !utf8.ValidString(char) {
			char = fmt.Sprintf("%%%02X", char)
		}
		s, target = s+char, target[size:]
	}
	return s
}

// wantMeant fails unless requests that are well-formed from the beginning have come as
// they were meant, as far as they have: the outside connection's end cancels what is under
// way.
func wantMeant(t *testing.T, in []byte, host string, got []stricthttp.Request) {
	t.Helper()
	var meant []stricthttp.Request
	for reader := bufio.NewReader(bytes.NewReader(in)); ; {
		r, err := stricthttp.Read(reader)
		if err == io.EOF {
			break
		}
		if err != nil || !slices.Equal(r.Values("Host"), []string{host}) || len(r.Values("Expect")) > 0 {
			return
		}
		meant = append(meant, r)
	}
	if len(got) > len(meant) {
		t.Fatalf("of %q come %d requests", in, len(got))
	}
	for i, r := range got {
		method, target, _ := strings.Cut(meant[i].Line, " ")
		if !strings.HasPrefix(target, "/") {
			continue
		}
		target = escaped(target)
		if gotMethod, gotTarget, _ := strings.Cut(r.Line, " "); gotMethod != method || gotTarget != target || r.Body != meant[i].Body {
			t.Errorf("of %q comes %q", in, r)
		}
	}
}

// With a connection that stays, all of them come.
func TestWhatIsMeantComes(t *testing.T) {
	service, address := newStrictService(t)
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	in := strings.ReplaceAll("POST /1 HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nbody"+
		"POST /2 HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n2\r\n..\r\n0\r\n\r\n"+
		"GET /3 HTTP/1.1\r\nHost: HOST\r\nCookie: a\r\nCookie: b\r\nConnection: close\r\n\r\n", "HOST", service.host)
	_, _ = io.WriteString(conn, in)
	answers, err := io.ReadAll(conn)
	if strings.Count(string(answers), "HTTP/1.1 200 OK") != 3 || err != nil {
		t.Errorf("the answers are %q, %v", answers, err)
	}
	got, bad := service.take()
	if bad != nil || len(got) != 3 || got[0].Body != "body" || got[1].Body != "more.." || !slices.Equal(got[2].Values("Cookie"), []string{"a; b"}) {
		t.Errorf("%q comes, %v", got, bad)
	}
	wantMeant(t, []byte(in), service.host, got)
}
