package forward

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A watchedSink takes a body, and notes with each piece whether that counts as sent
// whole by then.
type watchedSink struct {
	u    *upload
	room [100]byte
	all  string
	sent []bool
}

func (s *watchedSink) Room(int) ([]byte, error) { return s.room[:], nil }

func (s *watchedSink) Send(from, to int) {
	if from < to {
		s.all += string(s.room[from:to])
		s.sent = append(s.sent, s.u.sent.Load())
	}
}

// A body counts as sent whole when its last piece is about to go: the service may
// answer at once when it has that.
func TestUploadIsSentBeforeItIsAnswered(t *testing.T) {
	body := strings.Repeat("x", 250)
	for _, held := range []bool{true, false} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		x := &exchange{gateway: newGateway(false), w: httptest.NewRecorder(), r: r}
		u := newHeldUpload(x, []byte(body))
		if !held {
			r.Body = eagerBody{strings.NewReader(body)}
			u = newUpload(x)
		}
		sink := &watchedSink{u: u}
		if refusal := u.send(sink); refusal != "" || !u.stop() {
			t.Fatalf("held %t: it is not sent whole: %s", held, refusal)
		}
		if sink.all != body {
			t.Errorf("held %t: the service gets %q", held, sink.all)
		}
		if n := len(sink.sent); n != 3 || sink.sent[0] || sink.sent[1] || !sink.sent[2] {
			t.Errorf("held %t: it counts as sent with its pieces %v", held, sink.sent)
		}
	}
}

// So does one in chunks, with the last of its trailer.
func TestUploadInChunksIsSentBeforeItIsAnswered(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.ContentLength, r.Body, r.Trailer = -1, eagerBody{strings.NewReader("body")}, http.Header{"X": {strings.Repeat("y", 100)}}
	u := newUpload(&exchange{gateway: newGateway(false), w: httptest.NewRecorder(), r: r})
	sink := &watchedSink{u: u}
	if refusal := u.send(sink); refusal != "" || !u.stop() {
		t.Fatalf("it is not sent whole: %s", refusal)
	}
	if want := "4\r\nbody\r\n0\r\nX: " + strings.Repeat("y", 100) + "\r\n\r\n"; sink.all != want {
		t.Errorf("the service gets %q", sink.all)
	}
	if n := len(sink.sent); n != 3 || sink.sent[0] || sink.sent[1] || !sink.sent[2] {
		t.Errorf("it counts as sent with its pieces %v", sink.sent)
	}
}

// A body that has come whole has a length, however it came, and can be sent again.
func TestHeldUploadHasALength(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.ContentLength = -1
	x := &exchange{gateway: newGateway(false), w: httptest.NewRecorder(), r: r}
	for range 2 {
		u := newHeldUpload(x, []byte("hello"))
		head, err := u.appendFields(nil)
		if err != nil || string(head) != "Content-Length: 5\r\n" {
			t.Errorf("its header says %q, %v", head, err)
		}
		sink := &watchedSink{u: u}
		if u.send(sink); sink.all != "hello" {
			t.Errorf("the service gets %q", sink.all)
		}
	}
}

// An eagerBody tells its end with its last bytes, as net/http's does of one whose length
// is known.
type eagerBody struct{ *strings.Reader }

func (b eagerBody) Read(p []byte) (n int, err error) {
	n, err = b.Reader.Read(p)
	if err == nil && b.Len() == 0 {
		_, err = b.Reader.Read(p[:1])
	}
	return n, err
}

func (eagerBody) Close() error { return nil }
