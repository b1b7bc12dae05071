package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"wsproxy/auth"
	"wsproxy/command/cli"
)

const (
	// tokenCommandTimeout is how long a command may take for a token: somebody may
	// have to touch a key or look at a phone.
	tokenCommandTimeout = time.Minute
	// tokenCommandEnd is how long its output is waited for when it has ended, or was
	// killed: what it has started may keep that open.
	tokenCommandEnd = 2 * time.Second
	// maxTokenSource bounds what is read for a token, which is the first line of it.
	maxTokenSource = 64 << 10
)

// token returns where tokens come from, nil if there are none.
func (f *Flags) token(s cli.Streams) (func(context.Context) (string, error), error) {
	ofVariable, ofCommand := s.Getenv(tokenVariable), s.Getenv(tokenCommandVariable)
	switch {
	case f.TokenFile != "" && f.TokenCommand != "":
		return nil, cli.Misuse("--token-file and --token-command are both given: leave one out")
	case f.TokenFile != "":
		return tokenFile(f.TokenFile), nil
	case f.TokenCommand != "":
		return tokenCommand{f.TokenCommand, "--token-command", tokenCommandTimeout, s}.ask, nil
	case ofVariable != "":
		token, err := firstLine([]byte(ofVariable), tokenVariable)
		if err != nil {
			return nil, cli.Misuse("%w", err)
		}
		return func(context.Context) (string, error) { return token, nil }, nil
	case ofCommand != "":
		return tokenCommand{ofCommand, tokenCommandVariable, tokenCommandTimeout, s}.ask, nil
	}
	return nil, nil
}

// tokenFile reads a file anew each time, for whoever writes it may have a fresh
// token there.
func tokenFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		raw, err := readBounded(path, maxTokenSource)
		if err != nil {
			return "", fmt.Errorf("the file of --token-file can't be read: %w", err)
		}
		return firstLine(raw, "the file of --token-file")
	}
}

// A tokenCommand is a command of the shell that prints a token.
type tokenCommand struct {
	line    string
	from    string // where the line was given, for people
	timeout time.Duration
	streams cli.Streams
}

// ask runs it. What it says on standard error is for the person who waits; it must
// ask nothing on standard input, which a session's bytes may come from.
func (c tokenCommand) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := shell(ctx, c.line)
	cmd.Env = c.streams.Environ
	output := &boundedBuffer{}
	cmd.Stdout, cmd.Stderr = output, c.streams.Err
	cmd.WaitDelay = tokenCommandEnd
	err := cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("the command of %s gave no token within %s", c.from, c.timeout)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case output.full:
		return "", fmt.Errorf("the command of %s printed more than %d bytes; a token is at most %d", c.from, maxTokenSource, auth.MaxTokenBytes)
	case ended:
		return "", fmt.Errorf("the command of %s failed with %s", c.from, exit.ProcessState)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return "", fmt.Errorf("the command of %s can't be run: %w", c.from, err)
	}
	return firstLine(output.kept, "the output of "+c.from)
}

// firstLine is the token of a source, which from names. No error has what was read
// in it.
func firstLine(raw []byte, from string) (string, error) {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	line = bytes.TrimSpace(line)
	switch {
	case len(line) == 0:
		return "", fmt.Errorf("%s has no token in its first line", from)
	case len(line) > auth.MaxTokenBytes:
		return "", fmt.Errorf("the first line of %s is longer than the %d bytes of a token", from, auth.MaxTokenBytes)
	}
	for _, c := range line {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("the first line of %s is no token: it has blanks or other characters that a token never has", from)
		}
	}
	return string(line), nil
}

// A boundedBuffer refuses what is too much, which ends who writes it.
type boundedBuffer struct {
	kept []byte
	full bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > maxTokenSource {
		b.full = true
		return 0, errTooLong
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

var errTooLong = errors.New("it is longer than expected")

// readBounded reads a whole file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return raw, err
}
