package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionLine(t *testing.T) {
	recorded := &debug.BuildInfo{
		Main:     debug.Module{Version: "v1.0.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc123"}, {Key: "vcs.modified", Value: "true"}},
	}
	for _, test := range []struct {
		name string
		info *debug.BuildInfo
		want string
	}{
		{"2.0.0", recorded, "wsproxy 2.0.0 (commit abc123 with changes, go"},
		{"", recorded, "wsproxy v1.0.0 (commit abc123 with changes, go"},
		{"2.0.0", &debug.BuildInfo{}, "wsproxy 2.0.0 (go"},
		{"", nil, "wsproxy (devel) (go"},
	} {
		if got := versionLine(test.name, test.info); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q, want %q ...", got, test.want)
		}
	}
	var line strings.Builder
	printVersion(&line)
	if got := line.String(); !strings.HasPrefix(got, "wsproxy ") || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
		t.Errorf("%q is not one line", got)
	}
}
