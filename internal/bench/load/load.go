package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
	"wsproxy/internal/bench/wire"
)

// A Target is the server that a load is put on.
type Target struct {
	Server *process.Process
	Expose process.Options // how wsproxy expose is started, which one load does
}

// A Load is one kind of work.
type Load struct {
	Name    string
	Summary string
	// declare declares the flags, and returns what reads them when they are parsed.
	declare func(fs *flag.FlagSet) func(b *bench) error
}

// Loads are all there are.
var Loads = []Load{
	{"relay-throughput", "bytes through relays", relayThroughput},
	{"relay-latency", "pings through relays, as fast as they go, or paced", relayLatency},
	{"relay-idle", "the server's memory for each idle relay", relayIdle},
	{"relay-connect", "relays opened, used and closed", relayConnect},
	{"tunnel-http", "HTTP requests through a tunnel", tunnelHTTP},
	{"tunnel-tcp", "bytes through a tunnel's raw connections", tunnelTCP},
	{"expose", "HTTP requests through wsproxy expose, the cost of both its ends", expose},
}

// Find returns the load of a name.
func Find(name string) (Load, error) {
	for _, l := range Loads {
		if l.Name == name {
			return l, nil
		}
	}
	return Load{}, fmt.Errorf("there is no load %q", name)
}

// timeout bounds a load beyond what its duration says.
const timeout = 2 * time.Minute

// A bench is a load under way.
type bench struct {
	*wire.Run
	target Target
	report *measure.Report
}

// Run puts the load on a server, with flags.
func (l Load) Run(ctx context.Context, target Target, flags []string) (*measure.Report, error) {
	fs := flag.NewFlagSet(l.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	run := l.declare(fs)
	if err := fs.Parse(flags); err != nil {
		return nil, fmt.Errorf("%s: %w%s", l.Name, err, usage(fs))
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%s: %q is no flag%s", l.Name, fs.Arg(0), usage(fs))
	}
	r, err := wire.NewRun(ctx, target.Server.Addr, timeout)
	if err != nil {
		return nil, err
	}
	defer r.End()
	b := &bench{Run: r, target: target, report: &measure.Report{Load: l.Name}}
	if err := run(b); err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(append([]string{l.Name}, flags...), " "), err)
	}
	return b.report, nil
}

// usage lists flags.
func usage(fs *flag.FlagSet) string {
	var b strings.Builder
	b.WriteString("; flags are\n")
	fs.SetOutput(&b)
	fs.PrintDefaults()
	return b.String()
}

// flows runs all at the same time, measures, and reports the cost of so many bytes.
func (b *bench) flows(flows []func() error, moved float64) error {
	m, err := measure.StartMeter(b.target.Server.PID)
	if err != nil {
		return err
	}
	if err := b.Parallel(len(flows), len(flows), func(i int) error { return flows[i]() }); err != nil {
		return err
	}
	if err := m.Finish(); err != nil {
		return err
	}
	b.report.Add("throughput", moved/1e6/m.Elapsed.Seconds(), "MB/s")
	m.AddTo(b.report, 1e9/moved, "s/GB")
	return nil
}

// size declares a flag for a number of bytes, such as 65536, 64KiB or 1MB.
func size(fs *flag.FlagSet, name string, value int64, text string) *int64 {
	fs.Var((*byteCount)(&value), name, text)
	return &value
}

type byteCount int64

var byteUnits = []struct {
	suffix string
	scale  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

func (b *byteCount) String() string {
	for _, u := range byteUnits[:3] {
		if n := int64(*b) / u.scale; n > 0 && n < 1024 && int64(*b)%u.scale == 0 {
			return strconv.FormatInt(n, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

func (b *byteCount) Set(s string) error {
	for _, u := range byteUnits {
		digits, found := strings.CutSuffix(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<50)/u.scale {
			break
		}
		*b = byteCount(n * u.scale)
		return nil
	}
	return errors.New("not a number of bytes such as 65536, 64KiB or 1MB")
}

// direction is the flag of which way bytes go.
func direction(fs *flag.FlagSet, down, up string) *string {
	return fs.String("dir", "down", "down ("+down+") or up ("+up+")")
}

func isUp(dir string) (bool, error) {
	switch dir {
	case "up", "down":
		return dir == "up", nil
	}
	return false, fmt.Errorf("-dir must be up or down, not %q", dir)
}
