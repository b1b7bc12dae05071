package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// tunnelGarbageFrames is how many messages of garbage a tunnel gets.
	tunnelGarbageFrames = 100_000
	// tunnelMemoryGrows is how much more memory the server may need meanwhile:
	// the 32 MiB by which it lets its heap grow before it collects, and half as
	// much for what the race detector keeps about that. Seen were 24 to 33 MiB.
	tunnelMemoryGrows = 48 << 20
	// tunnelHeapKept is how much larger its heap may be afterwards: 42 bytes for
	// each of them. Seen was nothing.
	tunnelHeapKept = 4 << 20
)

// tunnelMemory watches the resident memory of a server until it is told to stop,
// and then returns the most that it was.
func tunnelMemory(t *testing.T, s *server) (most func() int64) {
	quit, peak := make(chan struct{}), make(chan int64, 1)
	go func() {
		look := time.NewTicker(pollEvery)
		defer look.Stop()
		var most int64
		for {
			select {
			case <-look.C:
				most = max(most, s.resident(t))
			case <-quit:
				peak <- most
				return
			}
		}
	}()
	most = sync.OnceValue(func() int64 {
		close(quit)
		return <-peak
	})
	t.Cleanup(func() { most() })
	return most
}

// tunnelHeapReturns waits until the heap is hardly larger than before.
func tunnelHeapReturns(t *testing.T, s *server, before int) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("a heap of %d MiB and little more", before>>20), func() bool {
		if s.metric(t, "go_memstats_heap_inuse_bytes") <= before+tunnelHeapKept {
			return true
		}
		// The server gives memory back when it was quiet for a second, which one
		// that is asked for its metrics is not.
		<-time.After(3 * time.Second)
		return false
	})
}

// tunnelBadAnswers answers each request with what makes no sense, about that
// request: of some of it nobody can tell what it is about, the last of it is an
// answer that can't be passed on.
func tunnelBadAnswers(c *tunnelClient, m tunnelMessage) {
	if m.Path == "/x" {
		c.answer(m, 200, m.Path)
		return
	}
	_, number, _ := strings.Cut(m.Path, "/bad/")
	n, err := strconv.Atoi(number)
	if err != nil {
		c.t.Errorf("a request for %q", m.Path)
	}
	lost := []string{`"status":"200"`, `"status":200,"body":{}`, `"status":200,"headers":"x"`, `"status":200,"body":"\x"`, `"status":[]`, `"status":200`}
	said := `{"type":"http_response","id":"` + m.ID + `",` + lost[n%len(lost)]
	if n%len(lost) < len(lost)-1 {
		said += "}" // the last one is cut off
	}
	_ = c.write(websocket.TextMessage, []byte(said))
	bad := []tunnelJSON{
		{}, {"status": 0}, {"status": 101}, {"status": 600}, {"status": -1}, {"status": 1 << 40},
		{"status": 200, "body": "a$b=", "bodyEncoding": "base64"}, {"status": 200, "body": "YWJ", "bodyEncoding": "base64"},
		{"status": 200, "body": "x", "bodyEncoding": "gzip"}, {"status": 200, "body": "four", "headers": tunnelJSON{"Content-Length": "5"}},
		{"status": 200, "headers": tunnelJSON{"X-Many": slices.Repeat([]string{"v"}, 201)}},
	}
	answer := tunnelJSON{"type": "http_response", "id": m.ID}
	maps.Copy(answer, bad[n%len(bad)])
	_ = c.send(answer)
}

// tunnelGarbage returns a message that makes no sense, in one of many ways.
func tunnelGarbage(r *rand.Rand, connID string) (kind int, data []byte) {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	id := fmt.Sprintf("%012x", r.Uint64()>>16)
	texts := []string{
		"", " ", "{", "{}", "[]", "null", "0", `"x"`, `{"type":`, `{"type":1}`, `{"type":null}`, `{"type":"nonsense"}`, `{"type":"http_request","id":"x"}`,
		`{"type":"tunnel_ready"}`, `{"type":["http_response"]}`, `{"type":"http_response"}`, `{"type":"http_response","id":12}`,
		`{"type":"http_response","id":"` + id + `","status":200}`, `{"type":"http_response","id":"` + id + `","status":"200"}`,
		`{"type":"http_response","id":"` + id + `","status":2e2,"headers":[]}`, `{"type":"http_response","id":"` + id + `","headers":{"a":{"b":1}}}`,
		`{"type":"tcp_close"}`, `{"type":"tcp_close","connId":"` + id + `"}`, `{"type":"tcp_close","connId":{}}`, `{"type":"tcp_close","connId":""}`,
		`{"type":"tcp_credit","connId":"` + connID + `","bytes":-1}`, `{"type":"tcp_credit","connId":"` + connID + `","bytes":99999999999999999999}`,
		`{"type":"tcp_credit","connId":"` + connID + `","bytes":1.5}`, `{"type":"tcp_credit","connId":"` + id + `","bytes":1}`,
		`{"type":"tcp_close","connId":"x"}trailing`, `{"type":"tcp_close","connId":"x",}`, `{'type':'x'}`, `{"type":"x","type":"y"}`,
		strings.Repeat("[", 500), `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, `{"a":"\ud800"}`, `{"a":"\x"}`, "{\"a\":\"\x00\"}",
		"\xef\xbb\xbf{}", "{\"type\":\"\xff\xfe\"}", `{"type":"http_response","id":"` + id + `","body":"` + strings.Repeat("A", 300) + `","bodyEncoding":"base64"}`,
	}
	frames := [][]byte{
		{}, {0}, {0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 12}, append([]byte{0, 0, 0, 12}, id[:5]...), {0xff, 0xff, 0xff, 0xff, 'x'}, {0, 0, 1, 0, 'x'},
		append([]byte{0, 1, 0, 0}, noise(300)...), tunnelFrame(id, []byte("x")), tunnelFrame(id, nil), tunnelFrame("", []byte("x")), tunnelFrame(connID[:11], noise(5)),
		tunnelFrame(connID+"0", noise(5)), tunnelFrame(strings.ToUpper(connID)+"G", noise(5)), tunnelFrame(strings.Repeat("i", 64), noise(5)),
		tunnelFrame(strings.Repeat("i", 65), noise(5)), tunnelFrame("\x00\xff\"\\</script>", noise(5)), noise(1 + r.IntN(40)),
	}
	switch n := r.IntN(len(texts) + len(frames)); {
	case n >= len(texts):
		data = frames[n-len(texts)]
		if len(data) >= 4 && binary.BigEndian.Uint32(data) == 12 && bytes.HasPrefix(data[4:], []byte(connID)) {
			data = nil
		}
		return websocket.BinaryMessage, data
	case r.IntN(2) == 0:
		return websocket.TextMessage, []byte(texts[n])
	default:
		return websocket.BinaryMessage, []byte(texts[n])
	}
}

// A hundred thousand messages of every kind that makes no sense: the tunnel
// that they come through lives, another one is not disturbed, who asks for what
// gets no sensible answer gets 502, nothing remains, and the log stays readable.
func TestTunnelGarbage(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "LOG_LEVEL=info", "METRICS_ADDR=127.0.0.1:0")
	other := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit", http: tunnelBadAnswers})
	heap, before, most := s.metric(t, "go_memstats_heap_inuse_bytes"), s.resident(t), tunnelMemory(t, s)

	outside, inside := tunnelPair(t, other)
	checked := make(chan error, 1)
	stop := make(chan struct{})
	go func() { // traffic that goes on as long as the garbage does
		for round := uint64(0); ; round++ {
			select {
			case <-stop:
				checked <- nil
				return
			default:
			}
			go func() { _, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(round), 128<<10) }()
			got, n, err := tunnelSum(io.LimitReader(outside, 128<<10))
			want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(round), 128<<10))
			if got != want {
				checked <- fmt.Errorf("round %d: %d bytes, %v", round, n, err)
				return
			}
		}
	}()
	probe := tunnelProbing(t, tunnelHTTP(t), s, other.host)

	mine, victim := tunnelPair(t, c)
	r := rand.New(rand.NewPCG(20260, 1))
	began := time.Now()
	refused := make(chan int, 1)
	go func() { // requests whose answers are garbage
		client := tunnelHTTP(t)
		for n := 0; ; n++ {
			select {
			case <-stop:
				if n >= 66 || t.Failed() { // each kind with each
					refused <- n
					return
				}
			default:
			}
			reply, err := tunnelAsk(client, s, "GET", c.host, fmt.Sprint("/bad/", n), nil, nil)
			if err != nil || reply.status != 502 {
				t.Errorf("request %d, whose answer is bad, gets %d, %v", n, reply.status, err)
				refused <- n
				return
			}
		}
	}()
	for i := range tunnelGarbageFrames {
		kind, data := tunnelGarbage(r, victim.id)
		if err := c.write(kind, data); err != nil {
			t.Fatalf("after %d messages: %v", i, err)
		}
	}
	go tunnelEcho(c, victim)
	if _, err := tunnelPing(mine); err != nil {
		t.Errorf("a connection of the tunnel with the garbage: %v", err)
	}
	if grew := most() - before; grew > tunnelMemoryGrows {
		t.Errorf("memory grew from %d MiB by %d MiB meanwhile", before>>20, grew>>20)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("the tunnel with the garbage answers %+v", reply)
	}
	close(stop)
	if err := <-checked; err != nil {
		t.Errorf("the other tunnel: %v", err)
	}
	if n := <-refused; n < 66 {
		t.Errorf("only %d answers were bad", n)
	}
	if count, worst := probe.stop(); count == 0 || worst > 5*time.Second {
		t.Errorf("of %d probes of the other tunnel the slowest took %v", count, worst)
	}
	took := time.Since(began)
	if lines := s.logLines("makes no sense"); len(lines) == 0 || len(lines) > 1+int(took/time.Minute) { // one a minute
		t.Errorf("%d lines about it in %v", len(lines), took)
	}
	c.bye(t)
	tunnelHeapReturns(t, s, heap)
}

// A client that makes the proxy answer without reading the answers is not read
// any more at some point, and reads everything later.
func TestTunnelGarbageUnread(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	gate := make(chan struct{})
	closed := make(chan string, 400_000)
	c := tunnelOpen(t, s, tunnelScript{
		read: func(*tunnelClient, int) bool {
			<-gate
			return true
		},
		close: func(_ *tunnelClient, m tunnelMessage) { closed <- m.ConnID },
	})
	opened := false
	defer func() {
		if !opened {
			close(gate)
		}
	}()
	other := tunnelOpen(t, s, tunnelScript{raw: tunnelEcho})
	before, most := s.resident(t), tunnelMemory(t, s)
	const many = 60_000
	sent := make(chan error, 1)
	go func() {
		for i := range many {
			if err := c.write(websocket.BinaryMessage, tunnelFrame(fmt.Sprintf("%012x%052x", i, i), []byte("x"))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	outside := tunnelDial(t, other.port)
	for range 50 {
		if took, err := tunnelPing(outside); err != nil || took > 5*time.Second {
			t.Errorf("another tunnel: %v, %v", took, err)
		}
	}
	if grew := most() - before; grew > tunnelMemoryGrows {
		t.Errorf("memory grew from %d MiB by %d MiB meanwhile", before>>20, grew>>20)
	}
	opened = true
	close(gate)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("then the tunnel answers %+v", reply)
	}
	for i := range many {
		select {
		case id := <-closed:
			if want := fmt.Sprintf("%012x%052x", i, i); id != want {
				t.Fatalf("answer %d is about %s, not %s", i, id, want)
			}
		case <-time.After(patience):
			t.Fatalf("%d of %d answers came", i, many)
		}
	}
}

// What a WebSocket may not carry ends the tunnel with the code for it.
func TestTunnelBadFrames(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_MAX_BODY=64KiB")
	const most = 2*64<<10 + 1<<20 // bytes of a message
	for name, test := range map[string]struct {
		bytes []byte
		code  int
	}{
		"unmasked":          {[]byte{0x82, 0x01, 'x'}, websocket.CloseProtocolError},
		"reserved bits":     {[]byte{0xf2, 0x81, 0, 0, 0, 0, 'x'}, websocket.CloseProtocolError},
		"unknown opcode":    {[]byte{0x83, 0x81, 0, 0, 0, 0, 'x'}, websocket.CloseProtocolError},
		"nothing continued": {[]byte{0x80, 0x81, 0, 0, 0, 0, 'x'}, websocket.CloseProtocolError},
		"large ping":        {[]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, websocket.CloseProtocolError},
		"too large":         {frame(finBit|opBinary, tunnelFrame("0123456789ab", make([]byte, most))), websocket.CloseMessageTooBig},
		"too large JSON":    {frame(finBit|opText, []byte(`{"type":"tcp_close","connId":"`+strings.Repeat("x", most))), websocket.CloseMessageTooBig},
		"enormous":          {append(frameHeader(finBit|opBinary, 1<<62), make([]byte, most+1)...), websocket.CloseMessageTooBig},
	} {
		c, held := tunnelHeld(t, s, "")
		waiting := tunnelStart(t, tunnelHTTP(t), s, c.host, "/", nil, nil)
		tunnelTake(t, held)
		_, _ = c.ws.NetConn().Write(test.bytes)
		if code := c.waitEnd(t); code != test.code {
			t.Errorf("%s: closed with %d, not %d", name, code, test.code)
		}
		if reply := waiting.get(t); reply.status != 502 {
			t.Errorf("%s: who waited got %d", name, reply.status)
		}
	}
	c := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		_ = c.send(tunnelJSON{"type": "http_response", "id": m.ID, "status": 200, "pad": strings.Repeat("p", most-200)})
	}})
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 200 {
		t.Errorf("the largest message: %d", reply.status)
	}
}
