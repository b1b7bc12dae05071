package load

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"wsproxy/internal/bench/process"
	"wsproxy/internal/bench/reference"
)

// target is the reference server, in this process.
func target(t *testing.T) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- reference.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return Target{Server: &process.Process{Addr: l.Addr().String(), PID: os.Getpid()}}
}

// Every load that the reference can bear reports figures that can be.
func TestLoadsOnTheReference(t *testing.T) {
	for _, test := range []struct{ flags, figure string }{
		{"relay-throughput -conns 2 -bytes 3MiB", "throughput"},
		{"relay-throughput -conns 2 -bytes 3MiB -dir up -msg 1000", "throughput"},
		{"relay-latency -duration 100ms -conns 2", "p99"},
		{"relay-latency -duration 100ms -conns 5 -rate 500", "p50"},
		{"relay-idle -n 20 -settle 20ms", "rss_peak"},
		{"relay-connect -conc 2 -duration 100ms", "first_byte_p50"},
		{"tunnel-http -conc 3 -duration 100ms -body 70000B", "requests"},
		{"tunnel-tcp -conns 2 -bytes 3MiB", "throughput"},
		{"tunnel-tcp -conns 2 -bytes 3MiB -dir up", "throughput"},
	} {
		name, flags, _ := strings.Cut(test.flags, " ")
		t.Run(test.flags, func(t *testing.T) {
			l, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			report, err := l.Run(t.Context(), target(t), strings.Fields(flags))
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := report.Find(test.figure); !ok || f.Value <= 0 {
				t.Errorf("%s is %v in %s", test.figure, f, report)
			}
		})
	}
}

// What the reference can't bear is an error, and so is a flag that there isn't.
func TestLoadsThatFail(t *testing.T) {
	for flags, want := range map[string]string{
		"relay-idle -resume -n 1":        "no WebSocket",
		"tunnel-http -bytes":             "announced a window",
		"tunnel-tcp -credit":             "announced a window",
		"expose":                         "binary",
		"relay-latency -size 1":          "-size",
		"relay-throughput -dir sideways": "-dir",
		"relay-connect -x":               "flags are",
		"relay-connect x":                "no flag",
		"relay-throughput -bytes 3Mi":    "number of bytes",
	} {
		t.Run(flags, func(t *testing.T) {
			name, rest, _ := strings.Cut(flags, " ")
			l, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			server := target(t)
			// The reference says nothing on a relay; who waits for its word gives up sooner here.
			if strings.Contains(flags, "-resume") {
				server.Server.Addr = silent(t)
			}
			if _, err := l.Run(t.Context(), server, strings.Fields(rest)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want one with %q", err, want)
			}
		})
	}
	if _, err := Find("none"); err == nil {
		t.Error("a load that there isn't was found")
	}
	l, _ := Find("relay-connect")
	if _, err := l.Run(t.Context(), Target{Server: &process.Process{Addr: "192.0.2.1:80", PID: os.Getpid()}}, nil); err == nil {
		t.Error("a load went to another machine")
	}
}

// silent is the address of a server that ends every connection without a word.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}
