package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Exit statuses that all commands share. A command may have more of its own, from 3.
const (
	StatusOK     = 0
	StatusFailed = 1
	StatusUsage  = 2 // arguments or environment can't be read
)

// A Command is one of wsproxy's. All texts are for people.
type Command struct {
	// Name is what comes behind wsproxy on the command line.
	Name string
	// Args is what comes behind the flags, such as "DIR"; "" is nothing.
	Args string
	// Summary is one line without a full stop.
	Summary string
	// About is paragraphs of at most 96 characters a line; it may be "".
	About string
	// Examples has at least one; each must be good as it is written.
	Examples []Example
	// New declares the flags of one run and returns what runs with them, when they
	// have been read.
	New func(flags *pflag.FlagSet) Action
}

// An Example is a line that can be typed, and what it is for.
type Example struct{ Says, Line string }

// An Action does what a command is for. args are what is left when the flags are
// read. What it returns is told to people on standard error and decides the exit
// status: nil is 0, one that Misuse made is 2, an Exit says which, any other is 1.
// When ctx is cancelled somebody has asked for the end.
type Action func(ctx context.Context, args []string, s Streams) error

// Exit is an error with an exit status of its own. An Err of nil is not told:
// everything is said already.
type Exit struct {
	Status int
	Err    error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// misuse is an error of who has typed the arguments or set the environment.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// Misuse makes an error of arguments or environment that can't be read: a sentence
// about what is expected, never with a secret in it.
func Misuse(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// Execute runs c with args, its name apart, and returns the exit status.
func Execute(ctx context.Context, c Command, args []string, s Streams) int {
	flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard) // errors are told below, once
	flags.Usage = func() {}
	action := c.New(flags)
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		writePage(s.Out, c, flags)
		return StatusOK
	}
	if err != nil {
		err = misuse{err}
	} else {
		err = action(ctx, flags.Args(), s)
	}
	return tell(c, err, s)
}

// tell writes why a command has failed, and returns the exit status.
func tell(c Command, err error, s Streams) int {
	if err == nil {
		return StatusOK
	}
	status := StatusFailed
	if exit, ok := errors.AsType[*Exit](err); ok {
		if exit.Err == nil {
			return exit.Status
		}
		status = exit.Status
	}
	hint := ""
	if _, ok := errors.AsType[misuse](err); ok {
		status, hint = StatusUsage, fmt.Sprintf("\nwsproxy %s --help tells what it takes", c.Name)
	}
	fmt.Fprintf(s.Err, "wsproxy %s: %v%s\n", c.Name, err, hint)
	return status
}
