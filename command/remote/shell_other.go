//go:build !windows

package remote

import (
	"context"
	"os/exec"
)

// shell is a command line, as people write it.
func shell(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", "-c", line)
}
