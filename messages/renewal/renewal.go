package renewal

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// A client sends auth with a fresh token, and the answer is auth_ok or auth_failed. On a
// tunnel auth_expires comes before the session ends.

// MaxMessage is how many bytes a message with a token may have: a token has 8 KiB at
// most, and what stands around it fits twice.
const MaxMessage = 16 << 10

// Renewed tells the actor of a session that its client has shown a fresh token of the
// same user, until when that lets it go on.
type Renewed struct{ Until time.Time }

// A Why says why a token doesn't renew a session, to its client. Beside these it is a
// reason of package auth.
const (
	WhyNotNeeded = "not_needed" // the session doesn't end with its token
	WhyOtherUser = "other_user" // it is another user's
	WhyTooOften  = "too_often"  // a token is being judged, or a wrong one was a moment ago
	WhyInternal  = "internal"   // a fault of the server's own
)

// DecodeAuth returns the token of a message that is an auth, and whether it is one. b
// stays as it is.
func DecodeAuth(b []byte) (token string, ok bool) {
	if len(b) > MaxMessage || !bytes.Contains(b, []byte(`"auth"`)) { // most messages are others
		return "", false
	}
	var m struct {
		Type  string `json:"type"`
		Token string `json:"token"`
	}
	if json.Unmarshal(b, &m) != nil || m.Type != "auth" {
		return "", false
	}
	return m.Token, true
}

// EncodeOK returns auth_ok. expires is the token's exp.
func EncodeOK(expires time.Time) []byte {
	return append(strconv.AppendInt([]byte(`{"type":"auth_ok","exp":`), expires.Unix(), 10), '}')
}

// EncodeFailed returns auth_failed. why is one word, of those of this package or of
// package auth.
func EncodeFailed(why string) []byte {
	return append(strconv.AppendQuote([]byte(`{"type":"auth_failed","reason":`), why), '}')
}

// EncodeExpires returns auth_expires.
func EncodeExpires(in time.Duration) []byte {
	return append(strconv.AppendInt([]byte(`{"type":"auth_expires","in":`), int64(in/time.Second), 10), '}')
}
