package wsproxy_test

import (
	"encoding/json"
	"io"
	"log"
	"os"

	"wsproxy/config"
	"wsproxy/server"
)

// exampleServer starts a server in this process, for an example, and returns its
// address.
func exampleServer(env ...string) (address string, stop func()) {
	c, err := config.Load(append([]string{"PORT=0", "BIND=127.0.0.1", "BLOCKED_TARGETS=none"}, env...))
	if err != nil {
		log.Fatal(err)
	}
	r, w := io.Pipe()
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Run(c, config.Environment{}, "example", server.Signals{End: signals}, w)
	}()
	found := make(chan string)
	go func() {
		for lines := json.NewDecoder(r); ; {
			var line struct{ Msg, Address string }
			if lines.Decode(&line) != nil {
				return
			}
			if line.Msg == "listening" {
				found <- line.Address
			}
		}
	}()
	return <-found, func() {
		signals <- os.Interrupt
		signals <- os.Interrupt
		<-done
		w.Close()
	}
}
