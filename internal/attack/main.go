package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wsproxy/internal/attack/neighbour"
	"wsproxy/internal/attack/play"
)

func main() {
	if len(os.Args) > 1 {
		role := map[string]func() error{
			"launch":    launch,
			"play":      play.Run,
			"neighbour": func() error { return neighbour.Run(os.Args[2]) },
		}[os.Args[1]]
		if role != nil {
			if err := role(); err != nil {
				fmt.Fprintf(os.Stderr, "attack: %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	bad, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(2)
	}
	if bad > 0 {
		os.Exit(1)
	}
}

// A runner runs attacks, one after the other.
type runner struct {
	binary     string
	deployment deployment
	limits     limits
	access     *play.AccessFiles
	short      bool
	calm       map[string]neighbour.Measure // of all attacks, in the short form
	log        io.Writer                    // what each attack did
}

const (
	// briefly is long enough for most attacks, when all of them may take little.
	briefly = time.Second
	// atLength is what each takes in the long form: longer than the server
	// bears most that keeps memory, but for the minute of TUNNEL_HTTP_TIMEOUT.
	atLength = 8 * time.Second
)

// Up to these a p99 of the neighbour's is never bad. Attacker, server and neighbour
// share the processors: with two of them a burst of one core's work shows in it as
// some tens of milliseconds. Where the checks of a change run, others do, too: there
// they find what keeps somebody waiting and not what delays.
const (
	longFloor  = 50 * time.Millisecond
	shortFloor = 500 * time.Millisecond
)

// run returns how many verdicts are bad.
func run() (bad int, err error) {
	binary := flag.String("binary", "", "the server; built when it is empty")
	compose := flag.String("compose", "compose.yaml", "where the server's settings and its memory limit are")
	only := flag.String("only", "", "attacks to run, comma-separated; empty for all")
	short := flag.Bool("short", false, "all within a minute")
	verbose := flag.Bool("v", false, "say what each attack did, and each measure")
	floor := flag.Duration("floor", 0, "a p99 of the neighbour's up to it is never bad; 50ms, or 500ms with -short")
	list := flag.Bool("list", false, "name the attacks")
	flag.Parse()
	if *list {
		for _, a := range play.Attacks {
			fmt.Printf("%-18s%s\n", a.Name, a.What)
		}
		return 0, nil
	}
	if *floor == 0 && *short {
		*floor = shortFloor
	} else if *floor == 0 {
		*floor = longFloor
	}
	d, err := readCompose(*compose)
	if err != nil {
		return 0, err
	}
	r := &runner{binary: *binary, deployment: d, short: *short, log: io.Discard, limits: limits{memory: d.memory, floor: *floor}}
	if *verbose {
		r.log = os.Stderr
	}
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if r.binary == "" {
		r.binary = filepath.Join(dir, "wsproxy")
		build := exec.Command("go", "build", "-trimpath", "-o", r.binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("the server can't be built: %w\n%s", err, out)
		}
	}
	if os.Geteuid() == 0 {
		if r.access, err = play.NewAccess(dir); err != nil {
			return 0, err
		}
	}
	chosen, err := choose(*only)
	if err != nil {
		return 0, err
	}
	var results []*result
	for _, a := range chosen {
		one, err := r.judged(a)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", a.Name, err)
		}
		if len(one.faults(r.limits)) > 0 {
			bad++
		}
		results = append(results, one)
	}
	table(os.Stdout, results, r.limits)
	fmt.Printf("%d passed, %d failed\n", len(results)-bad, bad)
	return bad, nil
}

func choose(only string) (chosen []play.Attack, err error) {
	if only == "" {
		return play.Attacks, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		a, known := play.Named(name)
		if !known {
			return nil, fmt.Errorf("there is no attack %q; -list names them", name)
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}

// judged is what was seen of an attack. One that was bad by times alone is run
// once more, its calm too.
func (r *runner) judged(a play.Attack) (*result, error) {
	one, err := r.attack(a)
	if err == nil && one.onlySlow(r.limits) {
		fmt.Fprintf(r.log, "%s: once more, for it was only slow: %s\n", a.Name, strings.Join(one.slow(r.limits), "; "))
		r.calm = nil
		one, err = r.attack(a)
	}
	return one, err
}

func (r *runner) attack(a play.Attack) (*result, error) {
	d := r.deployment
	if a.Descriptors > 0 {
		d.descriptors = a.Descriptors
	}
	s, err := startServer(r.binary, d, r.access)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	n, err := startChild(nil, "neighbour", s.addr)
	if err != nil {
		return nil, err
	}
	defer n.end()
	o := play.Order{Name: a.Name, Server: s.addr, Short: r.short, Access: r.access}
	if err := n.read(&o.Neighbour); err != nil {
		return nil, fmt.Errorf("the neighbour: %w", err)
	}

	took, calmFor := atLength, atLength/4
	if r.short {
		took, calmFor = max(a.Brief, briefly), atLength/8
	}
	one := &result{attack: a, calm: r.calm}
	if one.calm == nil {
		time.Sleep(calmFor / 4) // the first requests open connections
		if _, err := n.ask(); err != nil {
			return nil, err
		}
		time.Sleep(calmFor)
		if one.calm, err = n.ask(); err != nil {
			return nil, err
		}
		if r.short {
			r.calm = one.calm
		}
	}
	if _, err := n.ask(); err != nil {
		return nil, err
	}
	s.log.take()
	return one, r.under(one, o, s, n, took)
}

// under plays the attack and measures.
func (r *runner) under(one *result, o play.Order, s *server, n *child, took time.Duration) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	seen := s.meter(stop)
	begun := time.Now()
	attacker, err := startChild([]string{play.OrderVariable + "=" + string(text)}, "play")
	if err != nil {
		close(stop)
		return err
	}
	defer attacker.end()
	timer := time.NewTimer(took)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ended:
	case <-attacker.ended:
	}
	// The attack goes on while what is under way ends, well or not.
	one.under, err = n.ask()
	one.took = time.Since(begun)
	close(stop)
	one.peaks = <-seen
	one.died = s.died()
	one.logBytes, one.logKind, one.logLines = s.log.take()
	if err != nil {
		return fmt.Errorf("the neighbour: %w", err)
	}
	attacker.in.Close()
	if err := attacker.read(&one.deeds); err != nil {
		return fmt.Errorf("the attacker: %w", err)
	}
	attacker.end()
	one.cpu = attacker.cmd.ProcessState.UserTime() + attacker.cmd.ProcessState.SystemTime()
	fmt.Fprintf(r.log, "%s: did %v (%s); %v\n", o.Name, one.deeds.Done, one.deeds.Error, one.faults(r.limits))
	for _, name := range names(one.under) {
		fmt.Fprintf(r.log, "    %-11s%+v, calm %v\n", name, one.under[name], one.calm[name].P99)
	}
	return nil
}
