package main

import (
	"fmt"
	"log"
	"net"
	"strings"
	"testing"

	"wsproxy/server"
)

// What libraries print through the standard logger may be anybody's bytes.
func TestStandardLoggerIsWithheld(t *testing.T) {
	before := log.Writer()
	t.Cleanup(func() { log.SetOutput(before) })
	var stdout, stderr strings.Builder
	log.SetOutput(&stderr)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	environ := []string{"BIND=127.0.0.1", fmt.Sprint("PORT=", portOf(taken)), "LOG_LEVEL=debug"}
	if exit := run(nil, environ, server.Signals{}, &stdout, &stderr); exit != exitFailed {
		t.Fatalf("exit status %d: %s%s", exit, &stdout, &stderr)
	}
	started := stdout.Len()
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q", "payload")
	if stderr.Len() > 0 {
		t.Errorf("on stderr comes %q", &stderr)
	}
	line := stdout.String()[started:]
	if !strings.HasSuffix(line, `"level":"DEBUG","msg":"a library's message is withheld"}`+"\n") || strings.Count(line, "\n") != 1 {
		t.Errorf("on stdout comes %q", line)
	}
}
