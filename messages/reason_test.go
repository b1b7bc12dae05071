package messages

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// reasons reads all reasons from the source, so that none is forgotten here.
func reasons(t *testing.T) map[string]Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]Reason)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found[spec.Names[0].Name] = Reason(text)
		return true
	})
	if len(found) < 20 {
		t.Fatalf("only %d reasons found", len(found))
	}
	return found
}

// A reason is the label of a metric: two with one text could not be told apart.
func TestReasonsAreDistinctLabels(t *testing.T) {
	label := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	names := make(map[Reason]string)
	for name, reason := range reasons(t) {
		if other := names[reason]; other != "" {
			t.Errorf("%s and %s are both %q", name, other, reason)
		}
		names[reason] = name
		if !label.MatchString(string(reason)) {
			t.Errorf("%s: %q is no label", name, reason)
		}
	}
}

// The table of section 2 of the protocol.
func TestCloseCodeTellsTheReason(t *testing.T) {
	want := map[Reason]int{
		ReasonClientClosed: 1000, ReasonClientAborted: 1000, ReasonClientGone: 1000, ReasonTargetEnded: 1000,
		ReasonShutdown:      1001,
		ReasonProtocolError: 1002,
		ReasonTextMessage:   1003,
		ReasonTargetBlocked: 1008, ReasonOperator: 1008, ReasonTooOld: 1008, ReasonTokenExpired: 1008,
		ReasonMessageTooBig: 1009,
		ReasonNameTaken:     4001,

		ReasonBadAck: 1002, ReasonBeyondLimit: 1002,
		ReasonUnknownMessage: 1003,
		ReasonTakenOver:      4001, ReasonOldAttempt: 4001,
		ReasonNoSession: 4404, ReasonResumeTimeout: 4404, ReasonGaveWay: 4404,
		ReasonNotContinued: 4409,
	}
	for name, reason := range reasons(t) {
		code, text := CloseFor(reason)
		expected := want[reason]
		if expected == 0 {
			expected = 1011
		}
		if code != expected {
			t.Errorf("%s: code %d, want %d", name, code, expected)
		}
		if len(text) > 123 || !utf8.ValidString(text) {
			t.Errorf("%s: the text %q does not fit a close frame", name, text)
		}
		if code != CloseNormal && text == "" {
			t.Errorf("%s: no text", name)
		}
	}
	if code, _ := CloseFor("what nobody has thought of"); code != CloseInternal {
		t.Errorf("an unknown reason has code %d", code)
	}
	if _, text := CloseFor(ReasonTargetUnreachable); text != "cannot reach target" {
		t.Errorf("the contract's text for an unreachable target is %q", text)
	}
}

// What somebody else than its two sides has decided is not held up by them.
func TestForcedEnds(t *testing.T) {
	for name, reason := range reasons(t) {
		want := reason == "shutdown" || reason == "operator" || reason == "too_old" || reason == "token_expired"
		if reason.IsForced() != want {
			t.Errorf("%s: that it is forced is %v", name, reason.IsForced())
		}
		if want && reason.IsAnswered() {
			t.Errorf("%s: its client is waited for", name)
		}
	}
}

// Section 12 of the protocol: five hundred clients a second.
func TestRestartTextSpreadsTheClients(t *testing.T) {
	for sessions, seconds := range map[int]int{0: 1, 1: 1, 500: 1, 501: 2, 1000: 2, 1001: 3, 100_000: 200} {
		if got, want := RestartText(sessions), fmt.Sprintf("restart, retry within %d s", seconds); got != want {
			t.Errorf("for %d sessions it is %q, want %q", sessions, got, want)
		}
	}
	if text := RestartText(math.MaxInt32); len(text) > 123 {
		t.Errorf("%q does not fit a close frame", text)
	}
	if _, text := CloseFor(ReasonShutdown); text != "restart, retry within 1 s" {
		t.Errorf("a shutdown's text is %q", text)
	}
}
