package expose

import (
	"errors"
	"net/http"
	"time"

	wsproxy "wsproxy/client/go"
)

// Exit statuses of its own. 0 is an end that the user has asked for, 1 a failure, and
// 2 a command line that can't be read.
const (
	statusFailed = 1

	StatusRefused     = 3 // the server refuses, and will go on to
	StatusReplaced    = 4 // another tunnel has taken the name
	StatusCredentials = 5 // the server strips what --basic-auth-file needs
)

// An EndError is why the command has ended by itself. Err is a sentence.
type EndError struct {
	Status int
	Err    error
}

func (e *EndError) Error() string { return e.Err.Error() }

// Unwrap returns the sentence.
func (e *EndError) Unwrap() error { return e.Err }

// ExitCode is the exit status.
func (e *EndError) ExitCode() int { return e.Status }

// A verdict is what follows from a tunnel that could not be opened, or has ended.
type verdict struct {
	end   *EndError     // not nil if it makes no sense to try again
	after time.Duration // the server asks not to be asked again before; 0 if it does not
	says  string        // a sentence without a full stop
}

// judge says what follows. freshToken says that each try has a new token; up, that
// there was a tunnel before, so that a server is there that has accepted one.
func judge(err error, freshToken, up bool) verdict {
	if errors.Is(err, wsproxy.ErrReplaced) {
		return verdict{end: &EndError{StatusReplaced, errors.New("another tunnel of the same user has taken the name over, so this one ends: a name leads to the latest that asks for it")}}
	}
	v := verdict{says: "the tunnel has ended"}
	if err == nil {
		return v
	}
	v.says = err.Error()
	var refused *wsproxy.RefusedError
	if !errors.As(err, &refused) {
		return v
	}
	v.after = refused.RetryAfter
	final := false
	switch refused.Status {
	case http.StatusUnauthorized:
		final = !freshToken
	case http.StatusBadRequest, http.StatusNotFound, http.StatusUpgradeRequired:
		// A front proxy that restarts may answer so for a while.
		final = !up
	case http.StatusForbidden:
		final = !up
	}
	if final {
		v.end = &EndError{StatusRefused, err}
	}
	return v
}
