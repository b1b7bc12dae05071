package sshclient

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Code says what kind of failure an [Error] is, for programs.
type Code string

// The codes of errors and of ends.
const (
	CodeAuth      Code = "auth"      // the server has not let the user in
	CodeHostKey   Code = "hostkey"   // the server is not, or may not be, the one that it should be
	CodeNetwork   Code = "network"   // the connection beneath has ended, or the server did not answer
	CodeProtocol  Code = "protocol"  // what the server said was not understood, or nothing is in common
	CodeCancelled Code = "cancelled" // a person has given up
	CodeFailed    Code = "failed"    // the server, or the input, does not allow it
	CodeKeepAlive Code = "keepalive" // the server answers no more
	CodeClosed    Code = "closed"    // closed as it was meant
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

// parseDisconnect takes apart the text of x/crypto's disconnect error, whose type
// is not exported.
func parseDisconnect(err error) (reason int, text string, ok bool) {
	_, said, ok := strings.Cut(err.Error(), "ssh: disconnect, reason ")
	if !ok {
		return 0, "", false
	}
	number, quoted, _ := strings.Cut(said, ": ")
	reason, numberErr := strconv.Atoi(number)
	text, quoteErr := strconv.Unquote(quoted)
	if numberErr != nil || quoteErr != nil {
		return 0, "", false
	}
	return reason, Printable(text, maxReason), true
}

// Reasons of SSH_MSG_DISCONNECT, RFC 4253, section 11.1.
const (
	disconnectByApplication = 11
	disconnectNoMoreAuth    = 14
)

// explainHandshake makes a sentence of what ended a handshake with host.
func explainHandshake(host string, conn *watchedConn, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if reason, text, ok := parseDisconnect(err); ok {
		code := CodeProtocol
		// OpenSSH says "Too many authentication failures" with reason 2.
		if reason == disconnectNoMoreAuth || strings.Contains(strings.ToLower(text), "authentication") {
			code = CodeAuth
		}
		return failure(code, err, "%s has ended the login: %s", host, orNothing(text))
	}
	var negotiation *ssh.AlgorithmNegotiationError
	if errors.As(err, &negotiation) {
		return failure(CodeProtocol, err, "%s offers no way to encrypt that this client has: %s", host, Printable(err.Error(), maxReason))
	}
	if cause := conn.lost(); cause != nil {
		switch {
		case !conn.heard():
			return failure(CodeNetwork, cause, "The connection to %s ended before an SSH server answered%s.", host, because(cause))
		default:
			return failure(CodeNetwork, cause, "The connection to %s ended during the login%s.", host, because(cause))
		}
	}
	// The number is that of SSH_MSG_USERAUTH_PASSWD_CHANGEREQ.
	if strings.Contains(err.Error(), "unexpected message type 60 (expected 52)") {
		return failure(CodeAuth, err, "%s wants the password changed first, which can't be done here.", host)
	}
	if strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "too many authentication attempts") {
		return failure(CodeAuth, err, "%s has refused the login.", host)
	}
	return failure(CodeProtocol, err, "%s did not speak SSH as expected: %s", host, Printable(trimSSH(err), maxReason))
}

// because adds a cause to a sentence, unless it says no more than "end".
func because(cause error) string {
	if cause == nil || errors.Is(cause, io.EOF) {
		return ""
	}
	return " (" + Printable(cause.Error(), maxReason) + ")"
}

func orNothing(text string) string {
	if text == "" {
		return "it gave no reason."
	}
	return text
}

// trimSSH is an error of x/crypto without the prefixes that say nothing to a person.
func trimSSH(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "), "ssh: ")
}
