package expose

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"wsproxy/command/expose/display"
	"wsproxy/command/expose/gate"
	"wsproxy/command/expose/inspect"
	"wsproxy/command/expose/rawtcp"
	"wsproxy/command/expose/site"
	"wsproxy/command/expose/tap"
	"wsproxy/command/expose/target"
)

// settleTime is how long requests that are under way may take when the user has asked
// for the end.
const (
	settleTime  = 3 * time.Second
	settleCheck = 20 * time.Millisecond
)

// Streams are what the command has of its process.
type Streams struct {
	Out, Err io.Writer
	// Getenv reads the environment: NO_COLOR and TERM.
	Getenv func(name string) string
}

// A command is one that runs.
type command struct {
	options    Options
	open       Opener
	freshToken bool
	shown      *display.Display
	counters   tap.Counters
	browser    sync.Once
}

// Run exposes targets until ctx ends, and then returns nil, or until it makes no sense
// any more: then it returns an [EndError], which has an exit status. What the user has
// asked for wrongly is a [UsageError]. freshToken says that each try to open a tunnel
// has a new token, so that one that was refused is no end.
func Run(ctx context.Context, o Options, open Opener, freshToken bool, s Streams) error {
	targets, version, err := o.check()
	if err != nil {
		return err
	}
	c := &command{options: o, open: open, freshToken: freshToken}
	lines, closeAll, err := c.lines(targets, version)
	defer closeAll()
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.shown = c.display(s, targets, func() { end(errUnread) })
	defer c.shown.Close()
	stopPage, err := c.inspect(lines)
	if err != nil {
		return err
	}
	defer stopPage()
	return c.run(ctx, lines)
}

// run runs all lines to their ends. The first that ended by itself says the status.
func (c *command) run(ctx context.Context, lines []*line) error {
	cut, cutAll := context.WithCancel(context.WithoutCancel(ctx))
	defer cutAll()
	stop := context.AfterFunc(ctx, func() {
		c.shown.Rest()
		if n := c.counters.Pending.Load(); n > 0 {
			c.shown.Say(fmt.Sprintf("ending; requests that are under way (%d) have %s", n, settleTime))
		}
		time.AfterFunc(settleTime, cutAll)
	})
	defer stop()
	ends := make(chan *EndError, len(lines))
	for _, l := range lines {
		go func() {
			end := l.run(ctx, cut)
			if end != nil && len(lines) > 1 {
				c.shown.Warn(l.name + ": " + end.Error())
			}
			ends <- end
		}()
	}
	var first *EndError
	for range lines {
		if end := <-ends; end != nil && first == nil {
			first = end
		}
	}
	if first == nil && context.Cause(ctx) == errUnread {
		first = &EndError{statusFailed, errUnread}
	}
	if first == nil {
		return nil
	}
	return first
}

// errUnread is of a command whose lines go to a program that has ended.
var errUnread = errors.New("nobody reads its lines on standard output any more")

// settle waits for the requests that are under way, and not for long.
func (c *command) settle(cut context.Context) {
	ticker := time.NewTicker(settleCheck)
	defer ticker.Stop()
	for c.counters.Pending.Load() > 0 {
		select {
		case <-ticker.C:
		case <-cut.Done():
			return
		}
	}
}

// lines makes what serves each target. closeAll is to be called in any case.
func (c *command) lines(targets []target.Target, version rawtcp.Version) (lines []*line, closeAll func(), err error) {
	var sites []*site.Site
	closeAll = func() {
		for _, s := range sites {
			s.Close()
		}
	}
	var admits tap.Gate
	if c.options.BasicAuthFile != "" {
		if admits, err = gate.Open(c.options.BasicAuthFile, "wsproxy"); err != nil {
			return nil, closeAll, &UsageError{err}
		}
	}
	for _, t := range targets {
		l := &line{command: c, target: t}
		if len(targets) > 1 {
			l.name = t.Name
		}
		address := &tap.Address{Name: t.Address(), Host: t.Host, Port: t.Port}
		var service tap.Service = address
		switch t.Kind {
		case target.TCP:
			l.raw = &rawtcp.Forwarder{Dial: address.Dial, Header: version, Passed: func(in, out int) {
				c.counters.In.Add(int64(in))
				c.counters.Out.Add(int64(out))
			}}
			lines = append(lines, l)
			continue
		case target.HTTPS:
			// On this machine nobody stands in between, and certificates there are
			// mostly home-made.
			address.TLS = &tls.Config{ServerName: t.Host, InsecureSkipVerify: t.Loopback(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		case target.Folder:
			s, err := site.Open(t.Path)
			if err != nil {
				return nil, closeAll, &UsageError{err}
			}
			sites = append(sites, s)
			service = s
		}
		l.tap = &tap.Tap{Name: l.name, Service: service, Gate: admits, Counters: &c.counters}
		lines = append(lines, l)
	}
	return lines, closeAll, nil
}

// display makes the display, and has the taps tell it.
func (c *command) display(s Streams, targets []target.Target, broken func()) *display.Display {
	o := terminalOptions(s)
	o.Broken = broken
	o.JSON, o.Counters = c.options.JSON, &c.counters
	o.Live = o.Live && !o.JSON && !c.options.Quiet
	if len(targets) > 1 {
		for _, t := range targets {
			o.NameWidth = max(o.NameWidth, len(t.Name))
		}
	}
	return display.New(o)
}

// inspect starts the page of requests, if it is wanted, and has the taps tell what they
// are for.
func (c *command) inspect(lines []*line) (stop func(), err error) {
	var server *inspect.Server
	var store *inspect.Store
	stop = func() {}
	if c.options.Inspect != "" {
		var warning string
		store = inspect.NewStore()
		if server, warning, err = inspect.Listen(c.options.Inspect, store); errors.Is(err, inspect.ErrAddress) {
			return nil, &UsageError{err}
		} else if err != nil {
			return nil, err
		}
		stop = server.Close
		if warning != "" {
			c.shown.Warn(warning)
		}
		c.shown.Say("requests are shown at " + server.URL())
	}
	for _, l := range lines {
		if l.target.Kind == target.HTTPS && l.target.Loopback() {
			c.shown.Say("the certificate of " + l.target.String() + " is not checked, since it is on this machine")
		}
		if l.tap == nil {
			continue
		}
		l.tap.Notice = c.shown.Say
		if !c.options.Quiet {
			l.tap.Watcher = c.shown
		}
		if server != nil {
			l.tap.Keeper = store
			server.Add(l.tap.Name, l.tap)
		}
	}
	return stop, nil
}

// hostHeader is what a target is told as Host, "" for what came.
func (c *command) hostHeader(t target.Target) string {
	if t.Kind == target.TCP {
		return ""
	}
	return c.options.HostHeader
}

func (c *command) connection(shown display.Connection) {
	if !c.options.Quiet {
		c.shown.Connection(shown)
	}
}

// openBrowser opens the first address, once.
func (c *command) openBrowser(url string) {
	if !c.options.Open {
		return
	}
	c.browser.Do(func() {
		if err := browse(url); err != nil && !errors.Is(err, context.Canceled) {
			c.shown.Say("no browser could be opened: " + err.Error())
		}
	})
}
