package sftpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"

	"github.com/pkg/sftp"
)

// A Code says what kind of failure an [Error] is, for programs.
type Code string

// The codes of errors.
const (
	CodeNotFound   Code = "not_found"
	CodePermission Code = "permission"
	CodeExists     Code = "exists"
	CodeCancelled  Code = "cancelled"
	CodeNetwork    Code = "network"
	CodeFailed     Code = "failed"
)

// An Error is a failure with a sentence that can be shown to a person.
type Error struct {
	Code    Code
	Message string
	Err     error // what it comes of, or nil
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what the error comes of.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the code as text.
func (e *Error) ErrorCode() string { return string(e.Code) }

func failure(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: cause}
}

// maxSaid bounds, in bytes, a server's words in a sentence.
const maxSaid = 256

// explain makes a sentence of an error that came of doing something with path.
func explain(err error, doing, path string) error {
	var own *Error
	var status *sftp.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failure(CodeCancelled, err, "%s %s was called off.", doing, path)
	case errors.Is(err, fs.ErrNotExist):
		return failure(CodeNotFound, err, "%s is not there.", path)
	case errors.Is(err, fs.ErrPermission):
		return failure(CodePermission, err, "%s %s is not permitted.", doing, path)
	case errors.Is(err, fs.ErrExist):
		return failure(CodeExists, err, "%s is there already.", path)
	case errors.Is(err, sftp.ErrSSHFxConnectionLost), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		strings.HasPrefix(err.Error(), "failed to send packet"): // pkg/sftp says so, whatever the stream's error
		return failure(CodeNetwork, err, "%s %s was cut off: the connection has ended.", doing, path)
	case errors.As(err, &status):
		if status.FxCode() == sftp.ErrSSHFxFailure {
			return failure(CodeFailed, err, "%s %s has failed; the server does not say why.", doing, path)
		}
		return failure(CodeFailed, err, "%s %s has failed: %s.", doing, path, said(status.Error()))
	}
	return failure(CodeFailed, err, "%s %s has failed: %s.", doing, path, said(err.Error()))
}

// said is what a server says without what changes a terminal or a dialog.
func said(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(text, "sftp: "))
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return strings.TrimSuffix(text, ".")
}
