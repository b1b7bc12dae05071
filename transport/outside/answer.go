package outside

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// answerTimeout is how long a client may take for an answer of the proxy's own:
// one that takes none would else keep its connection for ever.
const answerTimeout = 30 * time.Second

// LimitAnswer lets a client take answerTimeout for the answer of this request.
// An upgrade ends that.
func LimitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
}

// Answer writes an answer of the proxy's own: a status and a sentence. If the
// request's body has not come whole, it is answered at once, and what still
// comes is read and discarded for up to [messages.Linger]: so a client that
// writes first and reads then gets the answer and no reset. After that the
// connection is closed.
func Answer(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	unread := r.ContentLength != 0 && r.Body != http.NoBody
	header := w.Header()
	if unread || r.Method == http.MethodConnect || r.Header.Get("Upgrade") != "" {
		// net/http must not wait for the body itself; and what follows a request
		// to become something else may be no request.
		header.Set("Connection", strings.TrimPrefix(header.Get("Connection")+", close", ", "))
		DiscardOnClose(r)
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(sentence)+1)) // so that the client sees its end at once
	LimitAnswer(w)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n")
	if !unread {
		return
	}
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	_ = control.SetReadDeadline(time.Now().Add(messages.Linger))
	defer context.AfterFunc(endingOf(r.Context()), func() { _ = control.SetReadDeadline(wsock.LongAgo) })() // the server ends
	_, _ = io.Copy(io.Discard, r.Body)
}
