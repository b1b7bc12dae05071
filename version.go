package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is what the build calls itself, set with
// -ldflags "-X main.version=1.2.3"; "" leaves it to what Go recorded.
var version string

// printVersion writes one line: the version, the commit if the build recorded
// one, and the Go version and platform.
func printVersion(w io.Writer) {
	fmt.Fprintln(w, recordedVersion())
}

// recordedVersion is the version line of this binary.
func recordedVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionLine(version, info)
}

// versionLine takes what Go recorded in the binary, which is nil for one that
// was built without modules.
func versionLine(name string, info *debug.BuildInfo) string {
	var commit, modified string
	if info != nil {
		if name == "" {
			name = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					modified = " with changes"
				}
			}
		}
	}
	if name == "" {
		name = "(devel)"
	}
	parts := []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if commit != "" {
		parts = append([]string{"commit " + commit + modified}, parts...)
	}
	return fmt.Sprintf("wsproxy %s (%s)", name, strings.Join(parts, ", "))
}
