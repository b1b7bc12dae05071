//go:build !windows

package expose

import "os"

// obeys reports whether a terminal takes control sequences.
func obeys(*os.File) bool { return true }
