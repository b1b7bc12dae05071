package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The application of docs/page.md has the terminal in a frame, and gives it the
// token: nobody is asked for one. At a name that WEB_TERMINAL_ANCESTORS doesn't list
// the same application has no terminal.
func TestPageInAFrame(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/page.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n```html\n(.*?)\n```\n").FindAllStringSubmatch(string(text), -1)
	if len(found) != 1 {
		t.Fatalf("docs/page.md has %d applications, want 1", len(found))
	}
	// A target that says something else than SSH would.
	greeter := target(t, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("220 mail.example ESMTP\r\n")) })

	keys := newIssuer(t)
	app := startApp(t, "node", nodeApp(t, "frame.js"))
	at := fmt.Sprintf("http://127.0.0.1:%d", tunnelPorts(t, 1))
	_, port, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ":")
	s := pageServer(t, "PORT="+port, allowLoopback(), "WEB_TERMINAL=on", "ALLOWED_ORIGINS="+at, "WEB_TERMINAL_ANCESTORS=http://"+app.addr(), "CLERK_JWKS_URL="+keys.url)
	html := strings.ReplaceAll(found[0][1], "https://proxy.example.com", at)
	html = strings.Replace(html, "me@ssh.example.com", "me@"+greeter.String(), 1)
	token := keys.token(fields{"sub": "user_in_a_frame"})
	html = "<!doctype html><title>an application</title><script>const session = { getToken: async () => " + fmt.Sprintf("%q", token) + " };</script>\n" + html
	line, err := json.Marshal(map[string]string{"html": html, "terminal": at})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(app.in, "%s\n", line)
	var seen struct{ Allowed, Other, Frame, Error string }
	said := app.line(t)
	if err := json.Unmarshal([]byte(said), &seen); err != nil || seen.Error != "" || seen.Allowed != "reached" || !strings.Contains(seen.Other, "frame-ancestors http://"+app.addr()) {
		t.Errorf("the browser says %s, %v", said, err)
	}
	if strings.Contains(seen.Frame, token) || !strings.HasPrefix(seen.Frame, at+"/#ssh://me@") {
		t.Errorf("the frame is at %s", seen.Frame)
	}
	if lines := s.logLines("relay started"); len(lines) != 1 || lines[0]["user"] != "user_in_a_frame" {
		t.Errorf("the log says of relays %v", lines)
	}
	if strings.Contains(s.log(), token) {
		t.Error("the token is in the log")
	}
}
