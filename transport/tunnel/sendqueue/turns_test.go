package sendqueue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// large is a frame that is as long as they get.
func large(name string) Frame {
	return namedFrame(name + "|" + strings.Repeat(" ", sendQuantum-len(name)-1))
}

// takesFrame takes one frame, if there is any, and says what it is. It is small if
// room is 0.
func takesFrame(t *testing.T, l *Queue, room int) string {
	t.Helper()
	batch, _ := l.Take(nil, room)
	if len(batch) == 0 {
		return ""
	}
	if len(batch) > 1 {
		t.Fatalf("%d frames are taken at once", len(batch))
	}
	name, _, _ := strings.Cut(string(batch[0].bytes), "|")
	return name
}

// Turns are counted in bytes: who sends large frames gets no more than who sends
// small ones, if both always have something.
func TestTurnsAreCountedInBytes(t *testing.T) {
	l := New(nobody, 0)
	sizes := []int{sendQuantum, 10_000, 1000, 60}
	got := make([]int, len(sizes))
	streams := make([]*Stream, len(sizes))
	fill := func(i int) {
		for len(streams[i].frames) < sendQuantum/sizes[i]+2 {
			streams[i].Send(namedFrame(fmt.Sprint(i, "|", strings.Repeat(" ", sizes[i]-2))), false)
		}
	}
	for i := range sizes {
		streams[i] = l.NewStream()
		fill(i)
	}
	for range 1000 {
		batch, _ := l.Take(nil, 1)
		for _, f := range batch {
			i := int(f.bytes[0] - '0')
			got[i] += len(f.bytes)
			fill(i)
		}
	}
	if least, most := slices.Min(got), slices.Max(got); most-least > 2*sendQuantum {
		t.Errorf("in turns go out %d bytes", got)
	}
}

// Who had nothing waiting goes before all who had, whatever waits.
func TestStreamThatHadNothingGoesFirst(t *testing.T) {
	l := New(nobody, 0)
	for i := range 100 {
		s := l.NewStream()
		for range 3 {
			s.Send(large(fmt.Sprint("bulk", i)), false)
		}
	}
	for range 150 { // each has had a turn, and some have had two
		takesFrame(t, l, 1)
	}
	key := l.NewStream()
	for range 5 {
		key.Send(namedFrame("key"), false)
		if got := takesFrame(t, l, 1); got != "key" {
			t.Fatalf("before the key goes %s", got)
		}
		for range 101 { // a whole round, in which it has nothing
			takesFrame(t, l, 1)
		}
	}
}

// It has one turn's bytes until all others have had their turns: who sends more, in
// large or in small pieces, is then no longer first.
func TestNobodyIsNewForEver(t *testing.T) {
	for _, size := range []int{sendQuantum, sendQuantum / 8} {
		l := New(nobody, 0)
		others := make([]*Stream, 10)
		for i := range others {
			others[i] = l.NewStream()
		}
		often := l.NewStream()
		turns := ""
		for range 3 * (len(others) + sendQuantum/size) {
			for _, s := range others {
				for len(s.frames) < 2 {
					s.Send(large("."), false)
				}
			}
			if len(often.frames) == 0 && len(turns) >= len(others) {
				often.Send(namedFrame("x|"+strings.Repeat(" ", size-2)), false)
			}
			turns += takesFrame(t, l, 1)
		}
		x, dots := strings.Repeat("x", sendQuantum/size), strings.Repeat(".", len(others))
		if want := dots + x + dots + x + dots + x; !strings.HasPrefix(want, turns[:len(dots+x+dots+x)]) {
			t.Errorf("pieces of %d bytes go out in the order %s", size, turns)
		}
	}
}

// While the client must come further first, a word of a stream that had nothing
// goes out all the same, but nothing that is long, nor more than a turn's bytes.
func TestWordsOfADialogueAreNotHeldBack(t *testing.T) {
	l := New(nobody, 0)
	bulk, key, file := l.NewStream(), l.NewStream(), l.NewStream()
	bulk.Send(large("bulk"), false)
	bulk.Send(large("bulk"), false)
	takesFrame(t, l, 1)
	takesFrame(t, l, 0) // its turn is over
	for sent := 0; sent < sendQuantum; sent += 1000 {
		key.Send(namedFrame("key|"+strings.Repeat(" ", 996)), false)
		if got := takesFrame(t, l, 0); got != "key" {
			t.Fatalf("after %d bytes what goes out is %q", sent, got)
		}
	}
	key.Send(namedFrame("key"), false)
	if got := takesFrame(t, l, 0); got != "" {
		t.Errorf("after a turn's bytes what goes out is %q", got)
	}
	file.Send(large("file"), false)
	if got := takesFrame(t, l, 0); got != "" {
		t.Errorf("what goes out is %s", got)
	}
}

// While the client must come further first it gets control messages only, but
// at the end everything.
func TestDataIsHeldBackButNotControl(t *testing.T) {
	l := New(nobody, 0)
	a := l.NewStream()
	a.Send(namedFrame("a0"), false)
	takes(l) // so that it is none of those that had nothing
	a.Send(large("a1"), false)
	l.Control(namedFrame("x"))
	names := func(room int) (all string) {
		batch, more := l.Take(nil, room)
		for _, f := range batch {
			name, _, _ := strings.Cut(string(f.bytes), "|")
			all += name
		}
		return fmt.Sprint(all, more)
	}
	if got := names(0) + names(0); got != "xtruetrue" {
		t.Errorf("while somebody waits goes out: %s", got)
	}
	if l.End(); names(0) != "a1false" {
		t.Error("data is held back at the end")
	}
}
