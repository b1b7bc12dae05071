//go:build unix

package auth

import "syscall"

// To open a pipe takes until somebody writes.
var badFilesOfThisSystem = map[string]badFile{
	"a pipe": {func(f keysFile) {
		f.remove()
		if err := syscall.Mkfifo(f.path, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}, "no regular file"},
}
