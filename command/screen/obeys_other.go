//go:build !windows

package screen

import "os"

// Obeys reports whether a terminal takes control sequences.
func Obeys(*os.File) bool { return true }
