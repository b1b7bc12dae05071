package table

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"wsproxy/internal/bench/load"
	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
)

// Options say what is measured.
type Options struct {
	Now, Before       string   // binaries; without Before its column is of File
	NowEnv, BeforeEnv []string // NAME=VALUE, beside what every server gets
	Rounds            int
	Short             bool           // small loads, one round
	Only              *regexp.Regexp // names of rows; nil for all
	GC                bool           // measure the collector's share of the processor time, too
	Log               io.Writer      // a line for each run
}

// What lines of Options.Log begin with that say what is measured now, and what failed.
const (
	LogBegins = "measuring "
	LogFailed = "FAILED: "
)

// pause is between two runs: what the last one has left behind ends meanwhile.
const pause = 300 * time.Millisecond

// A side is one of the servers that take turns.
type side struct {
	name string
	process.Options
}

const (
	nameReference = "reference"
	nameBefore    = "before"
	nameNow       = "now"
)

// A result is what came of a row.
type result struct {
	row
	flags     string // the load and its flags
	reference float64
	values    map[string][]float64 // of before and now, one a round
	gc        []float64            // share of the processor time of now; empty if not measured
	failed    error
}

// median is that of a side, ok if it was measured.
func (r *result) median(side string) (value float64, ok bool) {
	if len(r.values[side]) == 0 {
		return 0, false
	}
	return measure.Median(r.values[side]), true
}

// run measures all rows.
func run(ctx context.Context, o Options) ([]*result, error) {
	dir, err := os.MkdirTemp("", "wsproxy-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var results []*result
	for _, m := range measurements {
		wanted := slices.ContainsFunc(m.rows, func(r row) bool { return o.Only == nil || o.Only.MatchString(r.name) })
		if !wanted {
			continue
		}
		fmt.Fprintf(o.Log, LogBegins+"%s\n", strings.Join(append([]string{m.load}, m.flags...), " "))
		of, err := m.run(ctx, o, dir)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			fmt.Fprintf(o.Log, LogFailed+"%v\n", err)
		}
		results = append(results, of...)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("no row has a name like %v", o.Only)
	}
	return results, nil
}

// run measures the rows of one load. An error is in each of the results, too.
func (m measurement) run(ctx context.Context, o Options, dir string) ([]*result, error) {
	results := make([]*result, len(m.rows))
	for i, r := range m.rows {
		results[i] = &result{row: r, flags: strings.Join(append([]string{m.load}, m.flags...), " "), values: map[string][]float64{}}
	}
	fail := func(err error) ([]*result, error) {
		for _, r := range results {
			r.failed = err
		}
		return results, err
	}
	l, err := load.Find(m.load)
	if err != nil {
		return fail(err)
	}
	references := make([][]float64, len(m.rows))
	for round := range o.Rounds {
		for _, s := range m.sides(o, dir) {
			report, gc, err := m.once(ctx, l, o, s)
			if err != nil {
				return fail(fmt.Errorf("round %d, %s: %w", round+1, s.name, err))
			}
			fmt.Fprintf(o.Log, "%d %s %s\n", round+1, s.name, report)
			for i, r := range results {
				f, ok := report.Find(r.figure)
				switch {
				case !ok:
					return fail(fmt.Errorf("%s reports no %q", m.load, r.figure))
				case s.name == nameReference:
					references[i] = append(references[i], f.Value)
					continue
				case !r.ratio:
					r.values[s.name] = append(r.values[s.name], f.Value*r.scale)
				case references[i][round] > 0: // 0 in the short form, if less than a tick of the clock
					r.values[s.name] = append(r.values[s.name], f.Value/references[i][round])
				}
				if gc >= 0 {
					r.gc = append(r.gc, gc)
				}
			}
		}
	}
	for i, r := range results {
		if len(references[i]) > 0 {
			r.reference = measure.Median(references[i]) * max(r.scale, 1)
		}
	}
	return results, nil
}

// sides are those that take turns.
func (m measurement) sides(o Options, dir string) (all []side) {
	if !m.absolute {
		all = append(all, side{nameReference, process.Options{Dir: dir}})
	}
	if o.Before != "" {
		all = append(all, side{nameBefore, process.Options{Binary: o.Before, Env: o.BeforeEnv, Dir: dir}})
	}
	return append(all, side{nameNow, process.Options{Binary: o.Now, Env: o.NowEnv, Dir: dir}})
}

// once puts the load on a fresh server. gc is the collector's share of the processor
// time, negative if it was not measured.
func (m measurement) once(ctx context.Context, l load.Load, o Options, s side) (report *measure.Report, gc float64, err error) {
	measureGC := o.GC && s.name == nameNow
	if measureGC {
		s.Env = append(slices.Clone(s.Env), "GODEBUG=gctrace=1")
	}
	flags := slices.Clone(m.flags)
	if o.Short {
		flags = append(flags, m.short...)
	}
	if s.name == nameReference {
		flags = append(flags, m.reference...)
	}
	server, err := process.Start(ctx, s.Options)
	if err != nil {
		return nil, -1, err
	}
	defer func() {
		server.Stop()
		if !o.Short {
			time.Sleep(pause)
		}
	}()
	target := load.Target{Server: server, Expose: s.Options}
	report, err = l.Run(ctx, target, flags)
	if err != nil && server.Died() {
		err = fmt.Errorf("%w (the server has ended)", err)
	}
	if err != nil || !measureGC {
		return report, -1, err
	}
	all, err := measure.CPU(server.PID)
	return report, gcSeconds(server.Output()) / max(all, 0.01), err
}
