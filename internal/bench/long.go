package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"wsproxy/internal/bench/scale"
	"wsproxy/internal/bench/soak"
)

func runScale(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	o := scale.Options{Log: os.Stdout, Judge: true}
	fs.StringVar(&o.Binary, "binary", "bin/wsproxy", "the server's `binary`")
	env := list(fs, "env", "`NAME=VALUE,...` for the server, beside what every one gets")
	fs.IntVar(&o.Relays, "relays", 20_000, "how many relays")
	fs.IntVar(&o.Tunnels, "tunnels", 2000, "how many tunnels")
	fs.IntVar(&o.Pingers, "pingers", 200, "how many relays beside those ping, 10 times a second each; a slow machine has no time for as many")
	fs.IntVar(&o.Storm, "storm", 5000, "how many of the relays lose their WebSocket at once")
	fs.IntVar(&o.Steps, "steps", 10, "at how many sizes memory is read")
	fs.DurationVar(&o.Alive, "alive", 10*time.Minute, "how long all idle")
	fs.DurationVar(&o.Settle, "settle", 3*time.Second, "how long they idle before memory is read")
	fs.DurationVar(&o.Calm, "calm", 20*time.Second, "how long pings alone are measured")
	fs.StringVar(&o.Plot, "plot", "", "SVG `file` to write")
	fs.StringVar(&o.Document, "document", "", "Markdown `file` whose part is replaced")
	short := fs.Bool("short", false, "few and quickly, whatever else is said: whether it works at all")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *short {
		o.Relays, o.Tunnels, o.Storm, o.Steps, o.Judge = 300, 30, 100, 2, false
		o.Alive, o.Settle, o.Calm = 500*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	}
	// More can't lose their WebSocket, nor can there be more steps.
	o.Storm, o.Steps = min(o.Storm, o.Relays), min(o.Steps, o.Relays)
	if o.Relays < 1 || o.Tunnels < 0 || o.Pingers < 1 || o.Storm < 0 || o.Steps < 1 {
		return errors.New("-relays, -pingers and -steps must be at least 1, -tunnels and -storm at least 0")
	}
	o.Env = *env
	return scale.Run(ctx, o)
}

func runSoak(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	o := soak.Options{Log: os.Stdout, Judge: true}
	fs.StringVar(&o.Binary, "binary", "bin/wsproxy", "the server's `binary`")
	env := list(fs, "env", "`NAME=VALUE,...` for the server, beside what every one gets")
	fs.DurationVar(&o.Duration, "duration", time.Hour, "how long")
	fs.DurationVar(&o.Every, "every", 5*time.Second, "time between samples")
	fs.StringVar(&o.CSV, "csv", "", "`file` for the samples")
	fs.StringVar(&o.Plot, "plot", "", "SVG `file` to write")
	fs.StringVar(&o.Document, "document", "", "Markdown `file` whose part is replaced")
	short := fs.Bool("short", false, "a few seconds, whatever else is said, and growth is none: whether it works at all")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *short {
		o.Duration, o.Every, o.Judge = 3*time.Second, 200*time.Millisecond, false
	}
	if o.Every <= 0 || o.Duration < 6*o.Every {
		return errors.New("-duration must be at least six times -every: less doesn't tell whether anything grows")
	}
	o.Env = *env
	return soak.Run(ctx, o)
}
