package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A gosshNeed is a habit, or as few of them as do harm, and what it harms.
type gosshNeed struct {
	name    string
	habits  gosshHabits
	query   string           // with which it is harmed; empty: control=binary
	fails   string           // how; empty: a rule for all clients keeps it from harm
	hangs   bool             // it waits in vain
	opening [2]time.Duration // of a channel: when it is harmed, and otherwise
	// forAll is set when it is not the habits: no client that http_request
	// serves can do it.
	forAll bool
	// quick is whether control=gossh is enough only for who sends within a second.
	quick bool
	// make makes a service, with an empty address a gosshWeb, and what is done.
	make func(t *testing.T) (service string, scenario func(t *testing.T, r *gosshRig) error)
}

// onWeb is a scenario with a gosshWeb.
func onWeb(scenario func(r *gosshRig) error) func(*testing.T) (string, func(*testing.T, *gosshRig) error) {
	return func(*testing.T) (string, func(*testing.T, *gosshRig) error) {
		return "", func(_ *testing.T, r *gosshRig) error { return scenario(r) }
	}
}

// onEcho is an echo of so many bytes.
func onEcho(size int) func(*testing.T) (string, func(*testing.T, *gosshRig) error) {
	return func(t *testing.T) (string, func(*testing.T, *gosshRig) error) {
		return echoServer(t).String(), func(t *testing.T, r *gosshRig) error { return r.echo(t, size, "", false) }
	}
}

// onStall is an upload, in pieces with a pause behind each, to a service that
// reads nothing until everything has come or the connection has gone.
func onStall(size, piece int, pause time.Duration) func(*testing.T) (string, func(*testing.T, *gosshRig) error) {
	return func(t *testing.T) (string, func(*testing.T, *gosshRig) error) {
		gate := make(chan struct{})
		return gosshSink(t, int64(size), gate), func(t *testing.T, r *gosshRig) error {
			conn := r.dial(t)
			sent := []byte(gosshBinary(size))
			go func() {
				ticker := time.NewTicker(max(pause, 1))
				defer ticker.Stop()
				for rest := sent; len(rest) > 0; rest = rest[piece:] {
					if _, err := conn.Write(rest[:piece]); err != nil {
						return
					}
					if pause > 0 {
						<-ticker.C
					}
				}
			}()
			eventually(t, patience, "everything has come", func() bool {
				came := 0
				for _, e := range r.c.seen("data") {
					came += e.size
				}
				return came == size || len(r.c.seen("overflow")) > 0
			})
			close(gate)
			var got [sha256.Size]byte
			if _, err := io.ReadFull(conn, got[:]); err != nil {
				return fmt.Errorf("no hash: %w", err)
			}
			if got != sha256.Sum256(sent) {
				return errors.New("the service got other bytes")
			}
			return nil
		}
	}
}

// gosshNeeds is why control=gossh has the rules that it has.
//
// Of 100 slots, of tcp_close that is ignored and of ends that are not told
// there is no line: what suffers from them are requests as bytes, which no
// other control= has. See TestGosshSlots.
var gosshNeeds = []gosshNeed{
	{
		name: "text messages", habits: gosshHabits{deaf: true}, query: "control=text", fails: "no tunnel_ready", hangs: true,
		make: onWeb(func(r *gosshRig) error { return r.get("/text?n=100", nil, gosshText(100)) }),
	}, {
		name: "cut answers", habits: gosshHabits{cut: gosshPiece}, fails: "Client.Timeout", hangs: true,
		make: onWeb(func(r *gosshRig) error { return r.get("/text?n=10000", nil, gosshText(10_000)) }),
	}, {
		name: "cut data", habits: gosshHabits{cut: gosshPiece}, fails: "i/o timeout", hangs: true,
		make: onEcho(100_000),
	}, {
		name: "large requests", habits: gosshHabits{gulp: gosshMessage}, fails: "Client.Timeout", hangs: true,
		make: onWeb(func(r *gosshRig) error { return r.post("POST", nil, gosshText(200_000)) }),
	}, {
		name: "very large requests", habits: gosshHabits{largest: 1 << 20}, fails: "status 502", // an eighth of what it is
		make: onWeb(func(r *gosshRig) error { return r.post("POST", nil, gosshText(1<<20)) }),
	}, {
		name: "early data", habits: gosshHabits{dropsEarly: true}, fails: "i/o timeout", hangs: true,
		opening: [2]time.Duration{time.Second, 140 * time.Millisecond},
		make:    onEcho(1000),
	}, {
		name: "a full queue", habits: gosshHabits{queue: 256}, fails: "no hash",
		make: onStall(10<<20, 10<<20, 0),
	}, {
		name: "a queue full of small frames", habits: gosshHabits{queue: 256}, fails: "no hash", quick: true,
		make: onStall(380*16_000, 16_000, 500*time.Microsecond),
	}, {
		name: "binary bodies", habits: gosshHabits{bodyAsItCame: true}, fails: "another body",
		make: onWeb(func(r *gosshRig) error { return r.post("POST", nil, gosshBinary(10_000)) }),
	}, {
		name: "text that is not UTF-8", habits: gosshHabits{textAsString: true}, fails: "status 502",
		make: onWeb(func(r *gosshRig) error { return r.get("/latin1?n=6000", nil, strings.Repeat("gr\xfc\xdfe ", 1000)) }),
	}, {
		name: "characters in two chunks", habits: gosshHabits{textAsString: true, keepsChunks: true}, fails: "another body",
		make: onWeb(func(r *gosshRig) error { return r.get("/chunks?within&n=300000", nil, gosshText(300_000)) }),
	}, {
		name: "large answers", habits: gosshHabits{answerLimit: 1 << 20}, fails: "status 502", // a tenth of what it is
		make: onWeb(func(r *gosshRig) error { return r.get("/binary?n=1500000", asStream(), gosshBinary(1_500_000)) }),
	}, {
		name: "streams", forAll: true, fails: "no event comes", hangs: true,
		make: onWeb(func(r *gosshRig) error { return r.events(5, nil) }),
	}, {
		name: "upgrades", forAll: true, fails: "the upgrade is answered",
		make: onWeb(func(r *gosshRig) error { return r.webSocket(100) }),
	}, {
		name: "chunks", habits: gosshHabits{keepsChunks: true},
		make: onWeb(func(r *gosshRig) error { return r.get("/chunks?n=300000", nil, gosshText(300_000)) }),
	}, {
		name: "two lengths", habits: gosshHabits{twoLengths: true},
		make: func(t *testing.T) (string, func(*testing.T, *gosshRig) error) {
			return gosshStrictServer(t, false).addr, func(_ *testing.T, r *gosshRig) error {
				return r.post("POST", http.Header{"Content-Type": {"text/plain"}}, gosshText(10_000))
			}
		},
	},
}

// Each rule is needed and is enough: with one habit alone something fails that
// a client without habits can do, and with control=gossh it does not.
func TestGosshNeeded(t *testing.T) {
	t.Parallel()
	const ports = 40
	first := tunnelPorts(t, ports)
	s := tunnelServer(t, fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+ports-1))
	for _, need := range gosshNeeds {
		t.Run(need.name, func(t *testing.T) {
			t.Parallel()
			run := func(query string, habits gosshHabits, opening, limit time.Duration) error {
				service, scenario := need.make(t)
				r, err := gosshOpenAs(t, s, query, gosshScript{habits: habits, service: service, opening: opening}, limit)
				if err != nil {
					return err
				}
				defer r.c.ws.Close()
				return scenario(t, r)
			}
			query, limit := need.query, 2*patience
			if query == "" {
				query = "control=binary"
			}
			if need.hangs {
				limit = 1500 * time.Millisecond
			}
			err := run(query, need.habits, need.opening[0], limit)
			for tries := 1; err == nil && need.fails != "" && tries < 5; tries++ {
				// A busy machine may merge what would have been too much.
				err = run(query, need.habits, need.opening[0], limit)
			}
			switch {
			case need.fails == "" && err != nil:
				t.Errorf("%s: %v", query, err)
			case need.fails != "" && (err == nil || !strings.Contains(err.Error(), need.fails)):
				t.Errorf("%s does not fail by %q: %v", query, need.fails, err)
			}
			err = run("control=gossh", need.habits, need.opening[1], 2*patience)
			for tries := 1; err != nil && need.quick && tries < 5; tries++ {
				// A machine that sends for longer than a second sends more frames than are
				// queued: the server lets 200 a second pass, for it can't know that they wait.
				err = run("control=gossh", need.habits, need.opening[1], 2*patience)
			}
			if err != nil {
				t.Errorf("control=gossh: %v", err)
			}
			if need.forAll {
				return
			}
			if err := run(query, gosshHabits{}, need.opening[1], 2*patience); err != nil {
				t.Errorf("%s without any habit: %v", query, err)
			}
		})
	}
}
