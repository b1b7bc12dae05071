package tap

import "io"

// toService is where the bytes of requests go. Streams of a tunnel give them to TryWrite as
// they come, without a change of goroutines.
type toService struct {
	c     *conn
	shown int // bytes that the watch has seen and TryWrite has left
	deaf  bool
}

// TryWrite writes what the service's kernel takes at once.
func (t *toService) TryWrite(b []byte) int {
	if t.c.direct == nil {
		return 0
	}
	t.c.w.requestBytes(b)
	n := t.c.direct.tryWrite(b)
	t.shown = len(b) - n
	return n
}

// Write never fails: a service may answer early and read no more. The answer counts, and what
// still comes of the body is taken and dropped.
func (t *toService) Write(b []byte) (int, error) {
	seen := min(t.shown, len(b))
	t.shown -= seen
	if seen < len(b) {
		t.c.w.requestBytes(b[seen:])
	}
	if !t.deaf {
		_, failed := t.c.guard.Write(t.c.service.Write, b)
		t.deaf = failed != nil
	}
	return len(b), nil
}

// fromService is where the bytes of answers come from.
type fromService struct {
	io.Reader
	w   *watch
	err error // of the service, [io.EOF] included
}

func (f *fromService) Read(b []byte) (n int, err error) {
	n, err = f.Reader.Read(b)
	if n > 0 {
		f.w.answerBytes(b[:n])
	}
	f.err = err
	return n, err
}
