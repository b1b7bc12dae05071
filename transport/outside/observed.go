package outside

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// An Observer is told of answers. Its method is called by many goroutines.
type Observer interface {
	// Answered is called once for each answer: with its final status, 101 included, or
	// 0 if it was cut before one; after how long its head was written, and after how
	// long it was over.
	Answered(endpoint string, status int, first, whole time.Duration)
}

// Observed is the writer of an answer that is observed. It belongs to the goroutine of
// the request's handler.
type Observed struct {
	http.ResponseWriter
	began  time.Time
	first  time.Duration
	status int // 0 until the head is written
}

// Observe returns the writer for an answer that begins now to be waited for.
func Observe(w http.ResponseWriter) *Observed { return &Observed{ResponseWriter: w, began: time.Now()} }

// Tell tells an observer of the answer when its handler has returned, or panicked.
func (o *Observed) Tell(observer Observer, endpoint string) {
	observer.Answered(endpoint, o.status, o.first, time.Since(o.began))
}

// Became says with which status a connection was answered that is net/http's no more.
func (o *Observed) Became(status int) { o.status = status }

func (o *Observed) head(status int) {
	if o.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		o.status, o.first = status, time.Since(o.began)
	}
}

// WriteHeader notes a status that is no interim one, and writes it.
func (o *Observed) WriteHeader(status int) {
	o.head(status)
	o.ResponseWriter.WriteHeader(status)
}

func (o *Observed) Write(p []byte) (int, error) {
	o.head(http.StatusOK) // unless another one was written
	return o.ResponseWriter.Write(p)
}

// Hijack notes 101, for which alone a connection is taken from net/http; who takes it
// for another answer says so by Became.
func (o *Observed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.head(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}

// Unwrap is for [http.ResponseController].
func (o *Observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }
