package expose

import (
	"fmt"
	"net/url"
	"os/exec"
	"runtime"
)

// browse opens an address in the user's browser. It is the server's word, and so
// judged before a program gets it.
func browse(address string) error {
	name, args, err := browser(runtime.GOOS, address)
	if err != nil {
		return err
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// browser returns the program that opens an address, with its arguments.
func browser(system, address string) (string, []string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", nil, fmt.Errorf("the tunnel's address, %q, is none of a page", address)
	}
	address = u.String() // with all that has a meaning elsewhere escaped
	switch system {
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler", address}, nil
	case "darwin":
		return "open", []string{address}, nil
	}
	return "xdg-open", []string{address}, nil
}
