package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"wsproxy/internal/bench/load"
	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
)

// serverFlags declares the flags of a server that runs.
func serverFlags(fs *flag.FlagSet, prefix string) *load.Target {
	t := &load.Target{Server: &process.Process{}}
	fs.StringVar(&t.Server.Addr, prefix+"addr", "", "the server's `address`, host:port")
	fs.IntVar(&t.Server.PID, prefix+"pid", 0, "the server's process `ID`")
	fs.StringVar(&t.Expose.Binary, prefix+"binary", "", "`binary` of wsproxy, for the load expose")
	t.Expose.Dir = os.TempDir()
	return t
}

// one parses flags, and returns the load that the rest names, and its flags.
func one(fs *flag.FlagSet, args []string) (load.Load, []string, error) {
	if err := fs.Parse(args); err != nil {
		return load.Load{}, nil, err
	}
	if fs.NArg() == 0 {
		return load.Load{}, nil, errors.New("behind the flags comes the name of a load, and its own flags")
	}
	l, err := load.Find(fs.Arg(0))
	return l, fs.Args()[1:], err
}

func runLoad(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	target := serverFlags(fs, "")
	l, flags, err := one(fs, args)
	if err != nil {
		for _, l := range load.Loads {
			fmt.Fprintf(os.Stderr, "  %-17s %s\n", l.Name, l.Summary)
		}
		return err
	}
	report, err := l.Run(ctx, *target, flags)
	if err == nil {
		fmt.Println(report)
	}
	return err
}

func runCompare(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	targets := [2]*load.Target{serverFlags(fs, "a-"), serverFlags(fs, "b-")}
	rounds := fs.Int("rounds", 5, "how often the load is put on each")
	l, flags, err := one(fs, args)
	if err != nil {
		return err
	}
	var reports [2][]*measure.Report
	for round := range *rounds {
		for i, target := range targets {
			report, err := l.Run(ctx, *target, flags)
			if err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, round+1, string(rune('A'+i)), report)
			reports[i] = append(reports[i], report)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tmedian A\tmedian B\tmedian B/A\tlowest\thighest\t")
	for _, f := range reports[0][0].Figures {
		var a, b, ratios []float64
		for round := range *rounds {
			inA, _ := reports[0][round].Find(f.Key)
			inB, _ := reports[1][round].Find(f.Key)
			a, b = append(a, inA.Value), append(b, inB.Value)
			if inA.Value != 0 {
				ratios = append(ratios, inB.Value/inA.Value)
			}
		}
		fmt.Fprintf(w, "%s, %s\t%s\t%s\t", f.Key, f.Unit, measure.Number(measure.Median(a)), measure.Number(measure.Median(b)))
		if len(ratios) > 0 {
			fmt.Fprintf(w, "%.3f\t%.3f\t%.3f\t", measure.Median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
