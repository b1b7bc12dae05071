package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// outcome is what a command whose action returns err comes to.
func outcome(t *testing.T, result error, args ...string) (status int, stdout, stderr string, seen []string) {
	t.Helper()
	c := Command{
		Name: "try", Args: "WHAT", Summary: "try it", About: "It tries.",
		Examples: []Example{{Says: "once", Line: "wsproxy try this"}},
		New: func(flags *pflag.FlagSet) Action {
			loud := flags.BoolP("loud", "l", false, "say it aloud")
			return func(_ context.Context, args []string, s Streams) error {
				seen = append([]string{fmt.Sprint(*loud)}, args...)
				fmt.Fprint(s.Out, s.Getenv("WORD"))
				return result
			}
		},
	}
	var out, err strings.Builder
	status = Execute(t.Context(), c, args, Streams{Out: &out, Err: &err, Environ: []string{"WORD= hello ", "WORD=second"}})
	return status, out.String(), err.String(), seen
}

func TestExecute(t *testing.T) {
	// Flags may stand anywhere, and -- ends them.
	status, stdout, stderr, seen := outcome(t, nil, "a", "-l", "b", "--", "--c")
	if status != 0 || stdout != "hello" || stderr != "" || !slices.Equal(seen, []string{"true", "a", "b", "--c"}) {
		t.Errorf("status %d, %q, %q, seen %q", status, stdout, stderr, seen)
	}
	for _, help := range []string{"-h", "--help"} {
		status, stdout, stderr, seen = outcome(t, nil, "a", help)
		if status != 0 || stderr != "" || seen != nil {
			t.Errorf("%s: status %d, %q, ran with %q", help, status, stderr, seen)
		}
		for _, want := range []string{"wsproxy try: try it.\n", "\n  wsproxy try [flags] WHAT\n", "\nIt tries.\n", "-l, --loud   say it aloud\n", "\nExamples:\n  # once\n  wsproxy try this\n"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s doesn't say %q:\n%s", help, want, stdout)
			}
		}
	}
	if status, stdout, stderr, seen = outcome(t, nil, "--what"); status != 2 || stdout != "" || seen != nil ||
		stderr != "wsproxy try: unknown flag: --what\nwsproxy try --help tells what it takes\n" {
		t.Errorf("an unknown flag: status %d, %q, %q, ran with %q", status, stdout, stderr, seen)
	}
}

func TestStatuses(t *testing.T) {
	down := errors.New("it is down")
	for _, c := range []struct {
		err    error
		status int
		said   string
	}{
		{nil, 0, ""},
		{down, 1, "wsproxy try: it is down\n"},
		{Misuse("one is enough: %w", down), 2, "wsproxy try: one is enough: it is down\nwsproxy try --help tells what it takes\n"},
		{fmt.Errorf("so: %w", Misuse("one")), 2, "wsproxy try: so: one\nwsproxy try --help tells what it takes\n"},
		{&Exit{Status: 4, Err: down}, 4, "wsproxy try: it is down\n"},
		{&Exit{Status: 5}, 5, ""},
		{context.Canceled, 1, "wsproxy try: context canceled\n"},
	} {
		if status, _, stderr, _ := outcome(t, c.err); status != c.status || stderr != c.said {
			t.Errorf("%v: status %d, %q; want %d, %q", c.err, status, stderr, c.status, c.said)
		}
	}
	if err := error(&Exit{Status: 4, Err: down}); !errors.Is(err, down) || !errors.Is(Misuse("%w", down), down) {
		t.Error("what is behind an error is lost")
	}
}

func TestColours(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, &strings.Builder{}, nil} {
		if got := (Streams{}).Paint(w, Red, "stop"); got != "stop" {
			t.Errorf("no terminal: %q", got)
		}
	}
	for _, c := range []struct {
		environ []string
		want    bool
	}{
		{nil, true},
		{[]string{"TERM=xterm-256color"}, true},
		{[]string{"NO_COLOR="}, true},
		{[]string{"NO_COLOR=1"}, false},
		{[]string{"TERM=dumb"}, false},
	} {
		if got := (Streams{Environ: c.environ}).wantsColours(); got != c.want {
			t.Errorf("%q: %v", c.environ, got)
		}
	}
	// The null device is one of characters, too, and no terminal.
	for device, want := range map[string]string{"/dev/ptmx": "\x1b[31mstop\x1b[0m", os.DevNull: "stop"} {
		file, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got := (Streams{}).Paint(file, Red, "stop"); got != want {
			t.Errorf("%s: %q, want %q", device, got, want)
		}
	}
}
