package connect

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"wsproxy/command/remote"
)

const (
	// soonAfter is how soon behind a take-up an end is one that came before: what the
	// server kept comes with it, and somebody who acts on its return takes longer.
	soonAfter = time.Second
	// longAway is from when on a target may have had enough of the silence: sshd's
	// ClientAliveInterval is rarely below it.
	longAway = 10 * time.Second
)

// A watch is what has happened to a relay's WebSockets.
type watch struct {
	verbose  bool
	hasToken bool
	errors   io.Writer

	mu   sync.Mutex
	back time.Time     // when it was taken up last
	away time.Duration // and after how long
}

func (w *watch) say(format string, args ...any) {
	if w.verbose {
		fmt.Fprintf(w.errors, "wsproxy connect: "+format+"\r\n", args...) // ssh may have made the terminal raw
	}
}

func (w *watch) detached(err error) {
	w.say("the connection is lost, another one is tried: %v", remote.Explain(err, w.hasToken))
}

func (w *watch) retry(err error) { w.say("not yet: %v", remote.Explain(err, w.hasToken)) }

func (w *watch) resumed(away time.Duration) {
	w.mu.Lock()
	w.back, w.away = time.Now(), away
	w.mu.Unlock()
	w.say("it goes on after %v", away.Round(time.Millisecond))
}

// ended says in verbose mode when the relay has ended while it was away.
func (w *watch) ended(err error) {
	w.mu.Lock()
	since, away := time.Since(w.back), w.away
	w.mu.Unlock()
	if since < soonAfter && away > longAway && !errors.Is(err, errInterrupted) {
		w.say("the target ended it while the connection was away for %v: if it is sshd, see its ClientAliveInterval and ClientAliveCountMax", away.Round(time.Second))
	}
}
