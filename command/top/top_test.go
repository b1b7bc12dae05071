package top

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wsproxy/command/cli"
	"wsproxy/internal/testkit"
	"wsproxy/messages/inspect"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

const token = "0123456789abcdef"

var start = time.Date(2030, 1, 2, 15, 4, 5, 0, time.UTC)

func relay(id, user, target string, up, down int64) inspect.Session {
	return inspect.Session{ID: id, Kind: inspect.Relay, User: user, Source: netip.MustParseAddr("192.0.2.7"), Target: target,
		State: "relaying", Since: start, Age: 91, FromClient: up, ToClient: down}
}

func tunnel(id string, up, down int64) inspect.Session {
	return inspect.Session{ID: id, Kind: inspect.Tunnel, Source: netip.MustParseAddr("2001:db8::1"), State: "ready", Since: start.Add(-time.Hour), Age: 3700,
		FromClient: up, ToClient: down, Tunnel: &inspect.Part{Subdomain: id, Port: 10003, Connections: 2, Requests: 1}}
}

// A fake is a server's admin endpoints. Each answer is a second after the one before, and its
// relays have moved as much more each time as they had at first.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	all    []inspect.Session
	asked  int
	closed []string
	broken bool
}

func (f *fake) breaks(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

func newFake(t *testing.T, all ...inspect.Session) *fake {
	t.Helper()
	f := &fake{all: all}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(401)
		return
	}
	if f.broken {
		w.WriteHeader(503)
		_ = json.NewEncoder(w).Encode(inspect.Error{Error: "Others ask\x1b[2J just now."})
		return
	}
	if r.Method == "POST" {
		id := strings.Split(r.URL.Path, "/")[3]
		f.closed = append(f.closed, id)
		f.all = slices.DeleteFunc(f.all, func(s inspect.Session) bool { return s.ID == id })
		_ = json.NewEncoder(w).Encode(inspect.Closed{ID: id, Closed: 1})
		return
	}
	f.asked++
	a := inspect.Answer{Time: start.Add(time.Duration(f.asked) * time.Second), Version: "v1", Sessions: slices.Clone(f.all)}
	for i := range a.Sessions {
		a.Sessions[i].FromClient *= int64(f.asked)
		a.Sessions[i].ToClient *= int64(f.asked)
	}
	_ = json.NewEncoder(w).Encode(a)
}

// run runs the command without a terminal.
func run(t *testing.T, environ []string, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = cli.Execute(t.Context(), Command, args, cli.Streams{In: strings.NewReader(""), Out: &o, Err: &e, Environ: environ})
	return status, o.String(), e.String()
}

func TestOneTable(t *testing.T) {
	f := newFake(t, relay("7", "ann", "db:22", 1000, 0), relay("8", "", "web:443", 5000, 2_000_000), tunnel("0123456789abcdef", 0, 0))
	status, out, errs := run(t, []string{"WSPROXY_ADMIN_TOKEN=" + token}, "--interval", "200ms", f.URL)
	want := strings.Join([]string{
		"KIND    ID                USER       SOURCE           TO                         STATE         AGE       UP/S     DOWN/S      MOVED",
		"relay   8                 anonymous  192.0.2.7        web:443                    relaying    1m31s   5.0 kB/s   2.0 MB/s     4.0 MB",
		"relay   7                 ann        192.0.2.7        db:22                      relaying    1m31s   1.0 kB/s          -     2.0 kB",
		"tunnel  0123456789abcdef  anonymous  2001:db8::1      port 10003, 2 tcp, 1 http  ready       1h01m          -          -        0 B",
	}, "\n") + "\n"
	want = strings.ReplaceAll(want, "/s", "")
	if clean := strings.Fields(out); status != 0 || errs != "" || !slices.Equal(clean, strings.Fields(want)) {
		t.Errorf("%d %s\n%s\nwant\n%s", status, errs, out, want)
	}
}

func TestJSON(t *testing.T) {
	f := newFake(t, relay("7", "a\x1b[31m\u009b", "db:22", 1000, 0), relay("8", "bob", "web:443", 5000, 2_000_000))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+" \nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs := run(t, nil, "--json", "--sort", "user", "--token-file", file, "--interval", "200ms", f.URL)
	var got struct {
		Version  string
		Sessions []struct {
			ID, User string
			Up       float64 `json:"rate_from_client"`
			Down     float64 `json:"rate_to_client"`
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != 0 || errs != "" {
		t.Fatalf("%d %s %v\n%s", status, errs, err, out)
	}
	if len(got.Sessions) != 2 || got.Sessions[0].User != "a\x1b[31m\u009b" || got.Sessions[0].Up != 1000 || got.Sessions[1].Down != 2_000_000 || got.Version != "v1" {
		t.Errorf("it is %+v", got)
	}
	if strings.ContainsAny(out, "\x1b\u009b") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q is obeyed by a terminal", out)
	}
}

// What can't be done is said in a sentence, without the token.
// A terminal is what was written, and what is typed.
type terminal struct {
	t     *testing.T
	keys  *io.PipeWriter
	in    *io.PipeReader
	mu    sync.Mutex
	out   bytes.Buffer
	size  [2]int
	ended chan error
}

func (m *terminal) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(b)
}

// shows returns the lines of the last screen.
func (m *terminal) shows() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.out.String()
	last := strings.LastIndex(all, home)
	if last < 0 {
		return make([]string, 12)
	}
	clean := strings.NewReplacer(lineErase, "", erase, "", end, "")
	return strings.Split(clean.Replace(all[last+len(home):]), newLine)
}

func (m *terminal) press(keys string) { _, _ = io.WriteString(m.keys, keys) }

// want waits for words on the screen.
func (m *terminal) want(what string, hold func(lines []string) bool) {
	m.t.Helper()
	testkit.Eventually(m.t, what, func() bool { return hold(m.shows()) })
}

func (m *terminal) line(words string) {
	m.t.Helper()
	m.want(words, func(lines []string) bool {
		return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, words) })
	})
}

func newTerminal(t *testing.T, f *fake) *terminal {
	t.Helper()
	m := &terminal{t: t, size: [2]int{140, 12}, ended: make(chan error, 1)}
	m.in, m.keys = io.Pipe()
	at, err := addressOf(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(at, token)
	l := &live{client: c, view: view{table: &table{}, server: "here"}, interval: minInterval, out: m, size: func() (int, int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.size[0], m.size[1]
	}}
	go func() { m.ended <- l.run(t.Context(), m.in) }()
	t.Cleanup(func() {
		m.keys.Close()
		m.in.Close()
		c.http.CloseIdleConnections()
	})
	return m
}

func TestLive(t *testing.T) {
	f := newFake(t, relay("7", "ann", "db:22", 1000, 0), relay("8", "bob", "web:443", 5000, 2_000_000), tunnel("0123456789abcdef", 0, 0))
	m := newTerminal(t, f)
	m.line("2 relays, 1 tunnel, 0 detached   up 6.0 kB/s, down 2.0 MB/s")
	m.want("the fastest first, and selected", func(lines []string) bool { return len(lines) > 3 && strings.HasPrefix(lines[3], "> relay   8 ") })

	m.press("\x1b[B")
	m.want("the next is selected", func(lines []string) bool { return strings.HasPrefix(lines[4], "> relay   7 ") })
	m.press("s")
	m.line("now by bytes")
	m.press("k")
	m.line("y = yes, any other key = no: close relay 7 of ann from 192.0.2.7 (db:22)?")
	m.press("n")
	m.line("q quit")
	m.press("ky")
	m.line("closed 7")
	m.want("it is gone", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "db:22") })

	m.press("/TUNNx\x7f\r")
	m.line("filter: TUNN")
	m.want("the tunnel alone", func(lines []string) bool {
		return strings.Contains(lines[3], "port 10003, 2 tcp, 1 http") && lines[4] == ""
	})
	m.press("\x1b")
	m.line("web:443")
	m.mu.Lock()
	m.size = [2]int{70, 6}
	m.mu.Unlock()
	m.want("it follows the terminal's size", func(lines []string) bool {
		return len(lines) == 6 && !slices.ContainsFunc(lines, func(line string) bool { return len([]rune(line)) > 70 })
	})
	m.press("q")
	if err := testkit.Receive(t, m.ended); err != nil {
		t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if out := m.out.String(); !strings.HasPrefix(out, begin) || !strings.HasSuffix(out, end) {
		t.Error("the user's own screen does not come back")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fmt.Sprint(f.closed) != "[7]" {
		t.Errorf("closed are %v", f.closed)
	}
}

// A server that can't be asked for a while does not end it, and what it says is not obeyed.
func TestLiveGoesOn(t *testing.T) {
	f := newFake(t, relay("7", "ann", "db:22", 1000, 0))
	m := newTerminal(t, f)
	m.line("db:22")
	f.breaks(true)
	m.line(`Others ask\x1b[2J just now.`)
	m.line("db:22")
	f.breaks(false)
	f.mu.Lock()
	f.all = append(f.all, relay("8", "bob", "web:443", 0, 0))
	f.mu.Unlock()
	m.line("web:443")
	m.press("\x03")
	if err := testkit.Receive(t, m.ended); err != nil {
		t.Error(err)
	}
}

func TestRatesAndOrder(t *testing.T) {
	var tab table
	tab.take(inspect.Answer{Time: start, Sessions: []inspect.Session{relay("1", "a", "x:1", 100, 0), relay("2", "b", "y:1", 0, 50)}})
	again := relay("2", "b", "y:1", 0, 10)
	again.Since = start.Add(time.Minute) // another one of that id
	tab.take(inspect.Answer{Time: start.Add(2 * time.Second), Sessions: []inspect.Session{relay("1", "a", "x:1", 90, 4000), again, relay("3", "c", "z:1", 1<<30, 0)}})
	for _, test := range []struct {
		id       string
		up, down float64
	}{{"1", 0, 2000}, {"3", 0, 0}, {"2", 0, 0}} {
		r := tab.rows[0]
		tab.rows = tab.rows[1:]
		if r.ID != test.id || r.Up != test.up || r.Down != test.down {
			t.Errorf("it is %+v, want %+v", r, test)
		}
	}
	for seconds, want := range map[float64]string{0.4: "0s", 59: "59s", 61: "1m01s", 3600: "1h00m", 86400: "24h00m", 400000: "4d15h"} {
		if got := age(seconds); got != want {
			t.Errorf("%v is %s, want %s", seconds, got, want)
		}
	}
}

// Whatever users are called and wherever their sessions lead, a line is a line that a terminal
// does not obey, and no wider than that.
func FuzzScreen(f *testing.F) {
	f.Add("a\x1b[2J", "t\u202e:22", "relaying\r\n", "\u9f8d", 80, 24)
	f.Add("", "", "", "", 0, 0)
	f.Fuzz(func(t *testing.T, user, target, state, filter string, width, height int) {
		width, height = width&0xff, height&0x3f
		source := netip.MustParseAddr("fe80::1").WithZone(user)
		s := inspect.Session{ID: target, Kind: state, User: user, Source: source, Target: target, State: state, Since: start}
		l := live{view: view{table: &table{filter: filter}, server: target, marks: true}}
		l.view.take(inspect.Answer{Version: user, Sessions: []inspect.Session{s, tunnel("a", 1, 2)}})
		l.note(user)
		screens := [][]string{l.view.list(width), l.view.frame(width, height)}
		l.press('k')
		screens = append(screens, l.view.frame(width, height))
		l.view.typing = true
		screens = append(screens, l.view.frame(width, height))
		for _, lines := range screens {
			for _, line := range lines {
				for _, r := range line {
					if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x202e || r == 0x2028 {
						t.Fatalf("%q", line)
					}
				}
				if n := len([]rune(line)); width > 0 && n > width {
					t.Fatalf("%q has %d columns, not %d", line, n, width)
				}
			}
		}
	})
}

func TestKeys(t *testing.T) {
	for in, want := range map[string][]rune{
		"q": {'q'}, "\x1b[A\x1bOB": {keyUp, keyDown}, "\x1b[5~\x1b[6~x": {keyPageUp, keyPageDown, 'x'}, "\x1b": {keyEscape}, "\x1bq": {keyEscape, 'q'},
		"é\x7f": {'é', deleted}, "\x1b[1;5C": {keyUnknown}, "\x1b[H\x1b[F": {keyHome, keyEnd},
	} {
		if got, rest := readKeys([]byte(in)); !slices.Equal(got, want) || len(rest) > 0 {
			t.Errorf("%q is %v, %q, want %v", in, got, rest, want)
		}
	}
	if got, rest := readKeys([]byte("a\x1b[5")); len(got) != 1 || string(rest) != "\x1b[5" {
		t.Errorf("a part is %v, %q", got, rest)
	}
}

// What a terminal sends is read in whatever pieces it comes.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("q\x1b[A\xc3\xa9\x1b["))
	f.Fuzz(func(t *testing.T, in []byte) {
		var rest []byte
		for len(in) > 0 {
			n := min(len(in), 1+len(in)%7)
			_, rest = readKeys(append(rest, in[:n]...))
			if in = in[n:]; len(rest) >= maxSequence {
				t.Fatalf("%q is left", rest)
			}
		}
	})
}
