package socket

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxSentence is how much of a server's own words is kept, in bytes: its
// sentences are below 200, a page of some front proxy's is not.
const maxSentence = 512

// A RefusedError is a handshake that was answered by HTTP.
type RefusedError struct {
	Status     int           // of the answer
	Sentence   string        // the server's own, up to 512 bytes without control characters; may be empty
	RetryAfter time.Duration // what the server asked for, 0 if nothing
}

func (e *RefusedError) Error() string {
	if e.Sentence == "" {
		return fmt.Sprintf("the server refuses with status %d (%s)", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the server refuses with status %d: %s", e.Status, e.Sentence)
}

// A CloseError is a WebSocket, or a session, that was ended by a close frame.
type CloseError struct {
	Code   int    // of RFC 6455 or the server's own; 1005 stands for a frame without one
	Reason string // the server's own words, without control characters; may be empty
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("the server has closed with code %d", e.Code)
	}
	return fmt.Sprintf("the server has closed with code %d: %s", e.Code, e.Reason)
}

// refusal reads an answer that is no 101, of which body is the beginning.
func refusal(response *http.Response, body []byte) *RefusedError {
	e := &RefusedError{Status: response.StatusCode}
	if kind := response.Header.Get("Content-Type"); kind == "" || strings.HasPrefix(kind, "text/plain") {
		e.Sentence = plain(string(body)) // a page of a front proxy is no sentence
	}
	retry := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(retry, 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(retry); err == nil {
		e.RetryAfter = max(time.Until(at), 0)
	}
	return e
}

// plain returns what of a text that comes from elsewhere can be shown in a
// terminal: maxSentence bytes at most, without control characters.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "")
	}
	return text
}
