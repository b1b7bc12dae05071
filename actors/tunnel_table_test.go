package actors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

// The messages that a tunnel may get, by the names that the table uses.
var tunnelMessages = []struct {
	name    string
	message any
}{
	{"granted", &messages.Granted{}},
	{"refused", &messages.Refused{Reason: messages.ReasonUserLimit}},
	{"upgraded", &messages.Upgraded{}},
	{"abandoned", &messages.Abandoned{}},
	{"lent", &messages.PortTaken{Port: 10000}},
	{"unlent", &messages.PortTaken{}},
	{"opened", &messages.PortOpened{Port: 10000}},
	{"unopened", &messages.PortOpened{Port: 10000, Err: errors.New("in use")}},
	{"failed", &messages.PortFailed{Err: errors.New("broken")}},
	{"reopen", &reopen{}},
	{"ended", &messages.MuxEnded{Reason: messages.ReasonClientGone}},
	{"emptied", &handlerClosed{}},
	{"closed", &messages.MuxClosed{}},
	{"drain", &messages.Drain{}},
	{"shutdown", &messages.Shutdown{}},
	{"unknown", &struct{}{}},
}

// tunnelTable says for each state, and the messages that lead there, what the
// tunnel does on each message. What is not listed does nothing, whatever the
// state: a message that comes at the wrong time. Its end is the word "gone".
var tunnelTable = []struct {
	from string
	path string
	does map[string]string
}{
	{"claiming", "", map[string]string{
		"granted":   "admitted",
		"refused":   "finish user_limit; release; user_limit",
		"abandoned": "finish abandoned; release",
		"ended":     "finish client_gone; release",
		"closed":    "internal; gone", // out of all order: but the edge is answered
		"shutdown":  "finish draining; release; draining",
	}},
	{"draining", "drain", map[string]string{
		"granted":   "finish draining; release; draining",
		"refused":   "finish user_limit; release; user_limit", // a used-up limit is answered first
		"abandoned": "finish abandoned; release",
		"ended":     "finish client_gone; release",
		"closed":    "internal; gone",
		"shutdown":  "finish draining; release; draining",
	}},
	{"admitted", "granted", map[string]string{
		"upgraded":  "take 0",
		"abandoned": "finish abandoned; release",
		"ended":     "finish client_gone; release",
		"closed":    "gone",
		"shutdown":  "finish shutdown; release",
	}},
	{"listening", "granted upgraded", map[string]string{
		"abandoned": "finish abandoned; release",
		"lent":      "listen 10000",
		"unlent":    "start 0",
		"opened":    "start 10000",
		"unopened":  "take 10000",
		"ended":     "finish client_gone; release",
		"closed":    "gone",
		"shutdown":  "finish shutdown; release",
	}},
	{"ready", "granted upgraded lent opened", map[string]string{
		"abandoned": "finish abandoned; release",
		"unopened":  "later listen 10000",
		"failed":    "later listen 10000",
		"reopen":    "listen 10000",
		"ended":     "finish client_gone; release",
		"closed":    "gone",
		"shutdown":  "finish shutdown; release",
	}},
	{"closing", "granted upgraded lent opened ended", map[string]string{
		"emptied": "finish client_gone", // once more: to no effect at a mux
		"closed":  "gone",
	}},
	{"refused", "refused", map[string]string{
		"emptied": "finish user_limit",
		"closed":  "gone",
	}},
}

// walk sends a tunnel messages by their names, and returns what it did.
func (v *rigTunnel) walk(names ...string) string {
	v.r.t.Helper()
	var deeds []string
	for _, name := range names {
		for _, m := range tunnelMessages {
			if m.name == name && v.r.alive(v.owner) {
				v.r.send(v.owner, m.message)
			}
		}
		deeds = v.deeds(deeds[:0])
	}
	return strings.Join(deeds, "; ")
}

// deeds returns what a tunnel did since the last look.
func (v *rigTunnel) deeds(deeds []string) []string {
	for _, call := range v.take() {
		if what, ready, _ := strings.Cut(call, " "); what == "start" {
			var port int
			_, _ = fmt.Sscanf(ready[strings.Index(ready, `"rawPort"`):], `"rawPort":%d`, &port)
			call = fmt.Sprintf("start %d", port)
		}
		deeds = append(deeds, call)
	}
	for _, m := range v.r.asked.all() {
		switch m := m.(type) {
		case *messages.TakePort:
			deeds = append(deeds, fmt.Sprintf("take %d", m.Busy))
		case *messages.Acquire:
			deeds = append(deeds, fmt.Sprintf("acquire %d", len(m.Claims)))
		case *messages.Release:
			deeds = append(deeds, "release")
		default:
			deeds = append(deeds, fmt.Sprintf("%T", m))
		}
	}
	for len(v.answers) > 0 {
		deeds = append(deeds, v.answer())
	}
	if !v.r.alive(v.owner) {
		deeds = append(deeds, "gone")
	}
	return deeds
}

func TestTunnelAnswersEveryMessageInEveryState(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		for _, row := range tunnelTable {
			for _, m := range tunnelMessages {
				v := r.knock()
				if begun := v.walk(""); begun != "own; acquire 2" {
					t.Fatalf("it begins with %q", begun)
				}
				v.walk(strings.Fields(row.path)...)
				want := row.does[m.name]
				got := v.walk(m.name)
				if later, isLater := strings.CutPrefix(want, "later "); isLater && got == "" {
					want = later
					time.Sleep(firstReopen)
					r.settle()
					got = v.walk("")
				}
				if got != want {
					t.Errorf("%s, %s: it does %q, want %q", row.from, m.name, got, want)
				}
				v.walk("closed")
			}
		}
		// None is left, whatever it met: else the server would wait for it.
		if done := r.drain(); !isDone(done) {
			t.Error("a tunnel is left")
		}
	})
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Whatever comes in whatever order, the edge is answered once and no more, and
// what starts also ends.
func TestTunnelAnswersOnceWhateverTheOrder(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		for _, path := range []string{"", "granted", "granted upgraded", "granted upgraded lent opened"} {
			for _, first := range tunnelMessages {
				for _, second := range tunnelMessages {
					v := r.knock()
					v.walk("")
					for _, m := range tunnelMessages {
						for _, step := range strings.Fields(path) {
							if m.name == step {
								r.root.Send(v.owner, m.message)
							}
						}
					}
					r.root.Send(v.owner, first.message)
					r.root.Send(v.owner, second.message)
					r.root.Send(v.owner, &messages.MuxClosed{})
					r.settle()
					if len(v.answers) != 1 {
						t.Errorf("%q, %s, %s: %d answers", path, first.name, second.name, len(v.answers))
					}
					v.deeds(nil)
				}
			}
		}
		if done := r.drain(); !isDone(done) {
			t.Error("a tunnel is left")
		}
		started, ended := r.meter.of("tunnel started"), 0
		for what, n := range r.meter.counts {
			if strings.HasPrefix(what, "tunnel ended") {
				ended += n
			}
		}
		if started == 0 || started != ended || len(r.log.of("tunnel started")) != started || len(r.log.of("tunnel ended")) != ended {
			t.Errorf("%d tunnels started and %d ended; logged are %d and %d", started, ended,
				len(r.log.of("tunnel started")), len(r.log.of("tunnel ended")))
		}
	})
}
