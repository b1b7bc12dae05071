package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"syscall"
	"time"
)

const (
	// startTime is how long the server may take until it answers.
	startTime = 20 * time.Second
	// lookEvery is how often it is asked meanwhile.
	lookEvery = 50 * time.Millisecond
)

func main() {
	binary := flag.String("binary", "bin/wsproxy", "the server, which is run with this environment")
	flag.Parse()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := run(*binary, signals, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run runs both servers until a signal comes, or the one that was started ends.
func run(binary string, signals <-chan os.Signal, out io.Writer) error {
	bind := cmp.Or(os.Getenv("BIND"), "127.0.0.1")
	host, err := ownHost(bind)
	if err != nil {
		return err
	}
	// Else whoever listens there would be taken for the server.
	port := cmp.Or(os.Getenv("PORT"), "8080")
	if l, err := net.Listen("tcp", net.JoinHostPort(bind, port)); err != nil || port == "0" {
		return fmt.Errorf("the server needs a port of its own, such as by make demo PORT=8081: %w", cmp.Or(err, errors.New("it is 0")))
	} else {
		l.Close()
	}
	shells, err := listen()
	if err != nil {
		return err
	}
	defer shells.close()

	server := exec.Command(binary)
	server.Stdout, server.Stderr = out, os.Stderr
	server.Env = append(os.Environ(), "BIND="+bind, "PORT="+port)
	// A key that is pressed must not reach it twice: the signal is passed on.
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		return fmt.Errorf("the server can't be started: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()

	address := "http://" + net.JoinHostPort(host, port)
	ready := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	go func() { ready <- await(ctx, address+"/health") }()
	for {
		select {
		case err := <-ready:
			if err != nil {
				_ = server.Process.Kill()
				<-ended
				return err
			}
			ready = nil
			greet(out, address, shells)
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("the server ended, %w", err)
			}
			return nil
		case <-signals:
			shells.close() // with its sessions gone the server has nothing to wait for
			_ = server.Process.Signal(syscall.SIGTERM)
		}
	}
}

// ownHost is what the page is reached at: BIND must be of this machine alone.
func ownHost(bind string) (string, error) {
	switch bind {
	case "127.0.0.1", "localhost":
		return "localhost", nil // a name, which security keys ask for
	case "::1":
		return bind, nil
	}
	return "", fmt.Errorf("it has a shell for whoever knows the password, so it is for this machine alone: unset BIND, which is %q", bind)
}

// await waits until a server answers.
func await(ctx context.Context, url string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // without the environment's proxies
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return errors.New("the server doesn't answer")
		}
	}
}

func greet(out io.Writer, address string, s *sshServer) {
	who := "you"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	fmt.Fprintf(out, `
  Open         %s/#ssh://%s:%s@%s
  Password     %s (the link has filled it in)
  Host key     %s

It is %s, as %s, on this machine alone. Without a browser: ssh -p %d %s@127.0.0.1
Ctrl-C ends it, and every shell that was opened.

`, address, demoUser, s.password, s.address(), s.password, s.fingerprint(), shell(), who, s.port(), demoUser)
	if !hasPage(address) {
		fmt.Fprint(out, "This build of the server is without its page: make build says why.\n\n")
	}
}

func hasPage(address string) bool {
	response, err := http.Get(address + "/")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
