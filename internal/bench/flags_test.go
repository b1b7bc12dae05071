package main

import (
	"strings"
	"testing"
)

// What makes no sense is refused before anything is started.
func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"table -rounds 0", "-rounds"},
		{"table raw", `"raw" is no flag`},
		{"scale -relays 0", "-relays"},
		{"scale -steps 0", "-steps"},
		{"scale 100", `"100" is no flag`},
		{"soak -every 0", "-every"},
		{"soak -duration 29s", "-duration"},
	} {
		args := strings.Fields(c.args)
		args = append(args[:1:1], append([]string{"-binary", "/nonexistent"}, args[1:]...)...)
		if err := commands[args[0]](t.Context(), args[1:]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}
