package head

import (
	"errors"
	"strings"
	"testing"

	"wsproxy/messages"
)

// count passes an answer through a Counter in pieces of n bytes, and returns
// how many bytes it took until the error.
func count(answer string, n int) (taken int, err error) {
	var c Counter
	for len(answer) > 0 {
		piece := answer[:min(n, len(answer))]
		answer = answer[len(piece):]
		taken += len(piece)
		if err := c.Count([]byte(piece)); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

func TestCounter(t *testing.T) {
	const ok, hint = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	fields := func(n int) string { return strings.Repeat("a:\r\n", n) }
	long := strings.Repeat("b", messages.MaxAnswerHeader-1)
	for name, tt := range map[string]struct {
		answer string
		want   error
	}{
		"200 fields":               {ok + fields(messages.MaxAnswerFields) + "\r\n", nil},
		"201 fields":               {ok + fields(messages.MaxAnswerFields+1), ErrTooLarge},
		"lines without CR":         {strings.ReplaceAll(ok+fields(messages.MaxAnswerFields+1), "\r", ""), ErrTooLarge},
		"folded lines":             {ok + "a: b\r\n" + strings.Repeat(" c\r\n", messages.MaxAnswerFields), ErrTooLarge},
		"64 KiB":                   {ok + "a: " + long + "\r\n\r\n", nil},
		"a line without end":       {ok + "a: " + long + long, ErrTooLarge},
		"a status without end":     {strings.Repeat("x", 2*messages.MaxAnswerHeader), ErrTooLarge},
		"lines of a body":          {ok + "\r\n" + fields(1000) + long + long, nil},
		"a body behind bare LF":    {"HTTP/1.1 200\n\n" + fields(1000), nil},
		"a CR by itself is a line": {ok + strings.Repeat("\r\r\n", messages.MaxAnswerFields+1), ErrTooLarge},
		"16 interim answers":       {strings.Repeat(hint, maxInterim) + ok + fields(messages.MaxAnswerFields) + "\r\n" + fields(300), nil},
		"17 interim answers":       {strings.Repeat(hint, maxInterim+1), ErrInterim},
		"many fields behind one":   {hint + ok + fields(messages.MaxAnswerFields+1), ErrTooLarge},
		"many fields in one":       {"HTTP/1.1   103 x\r\n" + fields(messages.MaxAnswerFields+1), ErrTooLarge},
		"101 is a final one":       {"HTTP/1.1 101 S\r\n\r\n" + fields(1000), nil},
		"no status":                {"\r\n", errStatus},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			if taken, err := count(tt.answer, n); !errors.Is(err, tt.want) {
				t.Errorf("%s, %d at a time: %v after %d bytes", name, n, err, taken)
			}
		}
	}
}

// A Counter sees the end of its patience when that comes, not at the head's end.
func TestCounterSeesItComing(t *testing.T) {
	answer := "HTTP/1.1 200 OK\r\n" + strings.Repeat("a:\r\n", 1<<20)
	if taken, err := count(answer, 512); err == nil || taken > 2048 {
		t.Errorf("%v after %d bytes", err, taken)
	}
}
