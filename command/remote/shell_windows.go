package remote

import (
	"context"
	"os/exec"
	"syscall"
)

// shell is a command line, as people write it. cmd reads it by rules of its own, not
// by those that arguments are quoted by: with /S it takes off the outer quotes and
// nothing else.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd /S /C "` + line + `"`}
	return cmd
}
