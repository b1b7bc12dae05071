package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// fieldsOf returns n fields, Host among them.
func fieldsOf(n int) string {
	var text strings.Builder
	text.WriteString("Host: proxy\r\n")
	for i := range n - 1 {
		fmt.Fprintf(&text, "X-%d: a\r\n", i)
	}
	return text.String()
}

// answers reads so many answers and returns their statuses, and whether the
// connection ends behind them.
func answers(t *testing.T, conn io.Reader, n int) (statuses []int, ends bool) {
	t.Helper()
	in := bufio.NewReader(conn)
	for range n {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		statuses, ends = append(statuses, answer.StatusCode), answer.Close
		if answer.StatusCode == 431 && answer.Header.Get("Date") == "" {
			t.Error("the 431 is net/http's")
		}
	}
	if ends {
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
			t.Errorf("behind the last answer is %.40q, %v", rest, err)
		}
	}
	return statuses, ends
}

const getHealth = "GET /health HTTP/1.1\r\n"

// A request has at most 200 fields. The 201st is answered when it comes.
func TestFieldsAreCounted(t *testing.T) {
	d := newDesk(t, nil)
	address, _ := d.listen(t)
	const before = getHealth + "Host: proxy\r\n\r\n"
	for name, c := range map[string]struct {
		text     string
		statuses []int
	}{
		"200":                      {getHealth + fieldsOf(200) + "\r\n", []int{200}},
		"201, and the end":         {getHealth + fieldsOf(201) + "\r\n", []int{431}},
		"201, and no end":          {getHealth + fieldsOf(201), []int{431}},
		"short ones":               {getHealth + fieldLines(10_000), []int{431}},
		"the second request":       {before + getHealth + fieldsOf(201) + "\r\n", []int{200, 431}},
		"many, pipelined":          {before + getHealth + fieldsOf(1000) + "\r\n", []int{200, 431}},
		"pipelined as a whole":     {before + getHealth + "Host: proxy\n" + fieldLines(200) + "\n", []int{200, 431}},
		"pipelined, not too many":  {before + getHealth + fieldsOf(200) + "\r\n" + before, []int{200, 200, 200}},
		"a second one of a length": {before + getHealth + "A: " + strings.Repeat("a", 5000) + "\r\n" + fieldsOf(200) + "\r\n", []int{200, 431}},
	} {
		for _, piece := range []int{1 << 20, 1, 1000} {
			conn := dialText(t, address, "")
			_ = conn.SetNoDelay(true)
			for p := range piecesOf([]byte(c.text), piece) {
				if _, err := conn.Write(p); err != nil {
					break // it was answered meanwhile
				}
			}
			statuses, ends := answers(t, conn, len(c.statuses))
			last := c.statuses[len(c.statuses)-1]
			if fmt.Sprint(statuses) != fmt.Sprint(c.statuses) || ends != (last == 431) {
				t.Errorf("%s, by %d: answered with %v, then an end: %v", name, piece, statuses, ends)
			}
			conn.Close()
			want := map[int]string{200: "", 431: "http header_too_big"}[last]
			if got := strings.Join(d.take(), "|"); got != want {
				t.Errorf("%s, by %d: counted as %q", name, piece, got)
			}
		}
	}
}

// Bodies are no headers, wherever they come.
func TestBodiesAreNoHeaders(t *testing.T) {
	d := newDesk(t, nil)
	var bodies atomic.Int64
	server := d.HTTP()
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, ok := d.received(w, r)
		if !ok {
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		bodies.Add(n)
	})
	address := d.listenWith(t, server)
	body := strings.Repeat("a:\n", 5000)
	for _, piece := range []int{1 << 20, 100} {
		bodies.Store(0)
		conn := dialText(t, address, "")
		post := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		text := post + getHealth + "Host: a\r\n\r\n" + post + post
		go func() {
			for p := range piecesOf([]byte(text), piece) {
				if _, err := conn.Write(p); err != nil {
					return
				}
			}
		}()
		if statuses, _ := answers(t, conn, 4); fmt.Sprint(statuses) != "[200 200 200 200]" || bodies.Load() != 3*int64(len(body)) {
			t.Errorf("by %d: %v, and %d bytes", piece, statuses, bodies.Load())
		}
	}
}

// A request whose length is told in two ways is answered, and the last one of
// its connection (RFC 9112, section 6.3).
func TestDoubtfulLengthEndsTheConnection(t *testing.T) {
	d := newDesk(t, nil)
	server := d.HTTP()
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, ok := d.received(w, r)
		if !ok {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/written" {
			_, _ = io.WriteString(w, "ok")
			return
		}
		clear(w.Header())
		w.WriteHeader(200)
	})
	address := d.listenWith(t, server)
	const (
		chunked = "Transfer-Encoding: chunked\r\n"
		length  = "Content-Length: 5\r\n"
		chunks  = "5\r\nhello\r\n0\r\n\r\n"
	)
	post := func(fields, body string) string { return "POST /x HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body }
	for name, c := range map[string]struct {
		text     string
		statuses string
		ends     bool
	}{
		"both":                         {post(length+chunked, chunks) + post(length, "hello"), "[200]", true},
		"both, the other way":          {post(chunked+length, chunks) + post(length, "hello"), "[200]", true},
		"both, written":                {strings.Replace(post(chunked+length, chunks), "/x", "/written", 1), "[200]", true},
		"chunks alone":                 {post(chunked, chunks), "[200]", false},
		"a length alone":               {post(length, "hello"), "[200]", false},
		"a length, then both":          {post(length, "hello") + post(length+chunked, chunks), "[200 200]", true},
		"pipelined chunks":             {post(length, "hello") + post(chunked, chunks) + post(length, "hello"), "[200 200]", true},
		"a coding that HTTP/1.0 lacks": {"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n" + chunked + length + "\r\nhello", "[200]", true},
		"a repeated coding":            {post(chunked+chunked, chunks), "[501]", true},
		"two codings":                  {post("Transfer-Encoding: gzip, chunked\r\n", chunks), "[501]", true},
		"an unknown coding":            {post("Transfer-Encoding: \x0bchunked\r\n"+length, chunks), "[400]", true},
		"identity":                     {post("Transfer-Encoding: identity\r\n"+length, chunks), "[501]", true},
		"a blank before the colon":     {post("Transfer-Encoding : chunked\r\n"+length, "hello"), "[400]", true},
	} {
		conn := dialText(t, address, c.text)
		if statuses, ends := answers(t, conn, strings.Count(c.statuses, " ")+1); fmt.Sprint(statuses) != c.statuses || ends != c.ends {
			t.Errorf("%s: answered with %v, then an end: %v", name, statuses, ends)
		}
	}
	// One after the other, none is doubted.
	conn := dialText(t, address, "")
	in := bufio.NewReader(conn)
	for i := range 5 {
		_, _ = io.WriteString(conn, post(chunked, chunks))
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.Close {
			t.Fatalf("the %dth with chunks: %v", i, err)
		}
	}
}

// Headers count as memory while they come and while their request is under way.
func TestHeadersCountAsMemory(t *testing.T) {
	d := newDesk(t, nil)
	memory := &purse{room: 64 << 10}
	d.memory = memory
	address, _ := d.listen(t)
	held := func(want int64) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d bytes are held", want), func() bool { return memory.held.Load() == want })
	}
	ordinary := dialText(t, address, getHealth+"Host: a\r\nA: "+strings.Repeat("a", 4000))
	half := dialText(t, address, getHealth+"Host: a\r\nA: "+strings.Repeat("a", 40_000))
	held(36 << 10)
	_, _ = io.WriteString(ordinary, "\r\n\r\n")
	if statuses, _ := answers(t, ordinary, 1); statuses[0] != 200 {
		t.Errorf("an ordinary request: %v", statuses)
	}
	d.take()
	over := dialText(t, address, getHealth+"Host: a\r\nA: "+strings.Repeat("a", 40_000))
	if statuses, ends := answers(t, over, 1); statuses[0] != 503 || !ends {
		t.Errorf("answered with %v", statuses)
	}
	if got := strings.Join(d.take(), "|"); got != "http memory" {
		t.Errorf("counted as %s", got)
	}
	held(36 << 10)
	_, _ = io.WriteString(half, "\r\n\r\n")
	if statuses, _ := answers(t, half, 1); statuses[0] != 200 {
		t.Errorf("the one that waited: %v", statuses)
	}
	held(0)
	_, _ = io.WriteString(half, getHealth+"Host: a\r\nA: "+strings.Repeat("a", 20_000))
	held(16 << 10)
	half.Close()
	held(0)
	conn := dialText(t, address, handshakeText[:len(handshakeText)-2]+"A: "+strings.Repeat("a", 20_000)+"\r\n\r\n")
	open := d.opened()
	held(16 << 10)
	open.Answer <- messages.Admission{Refusal: messages.ReasonDraining}
	if statuses, _ := answers(t, conn, 1); statuses[0] != 503 {
		t.Errorf("a refused handshake: %v", statuses)
	}
	held(0)
}

// When nothing is left of a header, or it counts elsewhere, the connection's part of
// the memory is there for others while the request goes on.
func TestHeaderThatIsGoneCountsNoLonger(t *testing.T) {
	d := newDesk(t, nil)
	memory := &purse{room: 64 << 10}
	d.memory = memory
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	dialText(t, tcp.Addr().String(), getHealth+"Host: a\r\nA: "+strings.Repeat("a", 20_000)+"\r\n\r\n")
	conn, err := d.Listener(tcp).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := conn.(*edgeConn)
	for buf := make([]byte, 4<<10); c.receives.Load(); {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	if held := memory.held.Load(); held != 16<<10 {
		t.Errorf("%d bytes are held", held)
	}
	c.Counted()
	connState(conn, http.StateClosed)
	if held := memory.held.Load(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// A purse is a Memory.
type purse struct {
	room int64
	held atomic.Int64
}

func (p *purse) Add(n int64) { p.held.Add(n) }
func (p *purse) Try(n int64) bool {
	if p.held.Add(n) > p.room {
		p.held.Add(-n)
		return false
	}
	return true
}

// Who sends half a header gives way to others, as who sends none does.
func TestHalfHeadersGiveWay(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.MaxConns = 2 })
	address, _ := d.listen(t)
	half := []*net.TCPConn{dialText(t, address, "GET /health HTTP/1.1\r\nX-"), dialText(t, address, "G")}
	testkit.Eventually(t, "both are there", func() bool {
		d.conns.mu.Lock()
		defer d.conns.mu.Unlock()
		return d.conns.all.count == len(half)
	})
	for range 20 {
		if statuses, _ := answers(t, dialText(t, address, getHealth+"Host: a\r\n\r\n"), 1); statuses[0] != 200 {
			t.Fatalf("/health is answered %d", statuses[0])
		}
		testkit.Eventually(t, "one may give way to the next", func() bool { // who has its answer is not idle at once
			d.conns.mu.Lock()
			defer d.conns.mu.Unlock()
			return d.conns.all.oldest != nil
		})
	}
	for i, conn := range half {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("half a header is answered on connection %d", i)
		}
	}
}
