package sendqueue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// bulk fills the queue of a new stream.
func bulk(l *Queue, name string) *Stream {
	s := l.NewStream()
	<-s.room
	<-s.room
	f := large(name)
	f.data = true
	s.SendTwo(f, f)
	return s
}

// Two frames of a stream leave together, and with them the tokens for the next two, if
// there is room for all that is ever taken at once.
func TestTwoFramesLeaveTogether(t *testing.T) {
	for _, c := range []struct {
		room  int
		names string
		again bool // whether two are read again then
	}{
		{writeBatch, "a a, b b, ", true},
		{writeBatch - 1, "a b, a b, ", false},
		{1, "a, b, a, b, ", false},
	} {
		l := New(nobody, 0)
		a, _ := bulk(l, "a"), bulk(l, "b")
		names := ""
		for batch, _ := l.Take(nil, c.room); len(batch) > 0; batch, _ = l.Take(nil, c.room) {
			for _, f := range batch {
				names += string(f.bytes[:1]) + " "
			}
			names = strings.TrimSuffix(names, " ") + ", "
		}
		if names != c.names {
			t.Errorf("with room for %d bytes go out: %s", c.room, names)
		}
		<-a.room
		if again := a.TryRoom(); again != c.again {
			t.Errorf("with room for %d bytes two are read at once: %t", c.room, again)
		}
	}
}

// Of many streams none is ahead of another by more than a frame.
func TestManyStreamsLeaveOneByOne(t *testing.T) {
	l := New(nobody, 0)
	got := make([]int, fewStreams+1)
	for i := range got {
		bulk(l, fmt.Sprint(i))
	}
	for slices.Min(got) < 2 {
		batch, _ := l.Take(nil, writeBatch)
		for _, f := range batch {
			got[f.bytes[0]-'0']++
		}
		if len(batch) == 0 || slices.Max(got)-slices.Min(got) > 1 {
			t.Fatalf("in turns go out %d frames", got)
		}
	}
}

// Two are taken only where the stream has room for both, and few others wait.
func TestRoomForTwo(t *testing.T) {
	l := New(nobody, 0)
	s := l.NewStream()
	<-s.room
	if s.TryRoom() {
		t.Error("two are read before it is known whether the client keeps up")
	}
	l.Take(nil, writeBatch)
	if !s.TryRoom() || len(s.room) != 0 {
		t.Error("there is no room for two")
	}
	if s.TryRoom() {
		t.Error("there is room for three")
	}
	s.GiveRoom()
	for range fewStreams + 1 {
		bulk(l, "x")
	}
	if s.TryRoom() || len(s.room) != 1 {
		t.Error("two are read while many wait")
	}
}

// A pair that nobody takes any more comes back whole.
func TestTwoFramesAreDroppedTogether(t *testing.T) {
	var d drops
	l := New(nobody, 0)
	s := l.NewStream()
	s.Cut()
	s.SendTwo(d.frame("a"), d.frame("b"))
	d.want(t, "a b")
}
