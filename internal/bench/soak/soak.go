package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/process"
	"wsproxy/internal/bench/wire"
)

// Options say how long, and what becomes of it.
type Options struct {
	Binary   string
	Env      []string // NAME=VALUE, for the server
	Duration time.Duration
	Every    time.Duration // between samples
	Judge    bool          // fail when something grows
	CSV      string        // "" for none, like those below
	Plot     string        // SVG
	Document string        // Markdown file whose part is replaced
	Log      io.Writer
}

// spare is how long connections may take to end beyond the duration.
const spare = time.Minute

// Run runs it. An error is of what failed, or of what grew.
func Run(ctx context.Context, o Options) error {
	if err := measure.RaiseDescriptors(2000); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wsproxy-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "metrics")
	// The log of an hour is not what is looked at.
	env := append([]string{"METRICS_ADDR=unix:" + socket, "LOG_LEVEL=info"}, o.Env...)
	server, err := process.Start(ctx, process.Options{Binary: o.Binary, Env: env, Dir: dir})
	if err != nil {
		return err
	}
	defer server.Stop()
	r, err := wire.NewRun(ctx, server.Addr, o.Duration+spare)
	if err != nil {
		return err
	}
	defer r.End()
	w := &work{Run: r, end: time.Now().Add(o.Duration)}
	fmt.Fprintf(o.Log, "mixed load until %s\n", w.end.Format(time.TimeOnly))
	sampled := make(chan struct{})
	var samples []sample
	go func() {
		defer close(sampled)
		samples, err = w.sample(server.PID, socket, o.Every)
		if err != nil {
			r.Fail(err)
		}
	}()
	workErr := w.all()
	<-sampled
	if workErr != nil {
		if server.Died() {
			workErr = fmt.Errorf("%w (the server has ended)", workErr)
		}
		o.Plot = "" // of a whole run only; but the samples may say why
		return errors.Join(workErr, writeFiles(o, samples))
	}
	return tell(o, w, samples)
}
