package replay

import (
	"bytes"
	"fmt"
	"testing"
	"unsafe"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// text returns the bytes of a stream from one position to another. No two
// places of it look alike.
func text(from, to uint64) []byte {
	b := make([]byte, to-from)
	for i := range b {
		at := from + uint64(i)
		b[i] = byte(at ^ at>>7 ^ at>>13)
	}
	return b
}

// keep gives the next n bytes of the stream to a Sender of bytes.
func keep(s *Sender, n int) {
	s.Keep(Message{Payload: text(s.Position(), s.Position()+uint64(n))})
}

// inBuffer returns a message of n bytes of the stream in a buffer of the pool.
func inBuffer(s *Sender, n int) Message {
	buf := wsock.TakeBuffer()
	return Message{Payload: append(buf[16:16], text(s.Position(), s.Position()+uint64(n))...), Buf: buf}
}

// write writes all that may be written, and checks it against the stream.
func write(t *testing.T, s *Sender) (pieces []Piece) {
	t.Helper()
	at := s.next
	pieces = s.Next(nil, 1<<30)
	for _, p := range pieces {
		if p.Position != at+uint64(len(p.Payload)) || len(p.Payload) > MaxPayload || !bytes.Equal(p.Payload, text(at, p.Position)) {
			t.Fatalf("a piece of %d bytes up to %d is not what stands behind %d", len(p.Payload), p.Position, at)
		}
		at = p.Position
	}
	if s.Pending() {
		t.Fatal("something is pending that Next did not return")
	}
	s.Wrote()
	return pieces
}

func positions(pieces []Piece) string {
	var all []uint64
	for _, p := range pieces {
		all = append(all, p.Position)
	}
	return fmt.Sprint(all)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSenderHoldsNothingWhenAllIsAcknowledged(t *testing.T) {
	if size := unsafe.Sizeof(Sender{}); size > 200 {
		t.Errorf("a Sender takes %d bytes", size)
	}
	for _, unit := range []Unit{Bytes, Messages} {
		s := NewSender(unit)
		for range 5 {
			s.Keep(Message{Payload: text(0, 100)})
		}
		s.Next(nil, 1000)
		s.Wrote()
		if s.kept == nil || s.Held() != 5*s.size(100) {
			t.Fatalf("%d bytes are held before the ack", s.Held())
		}
		must(t, s.Acked(s.Position(), 0))
		if s.kept != nil || s.Held() != 0 || s.Pending() || s.Acknowledged() != s.Sent() {
			t.Errorf("%v is held behind the ack", s.kept)
		}
	}
}

// What is joined to a chunk of which a part is in flight leaves that part alone.
func TestSenderJoinsBehindWhatIsInFlight(t *testing.T) {
	s := NewSender(Bytes)
	keep(s, 10)
	first := s.Next(nil, 1000)
	for range 50 {
		keep(s, 7)
	}
	if len(s.kept) != 1 || !bytes.Equal(first[0].Payload, text(0, 10)) || cap(first[0].Payload) != 10 {
		t.Error("the piece in flight has changed, or could be appended to")
	}
	s.Wrote()
	if got := positions(write(t, s)); got != "[360]" {
		t.Errorf("then pieces up to %s", got)
	}
}

// A message of a tunnel stays one, with what it is.
func TestSenderKeepsMessagesApart(t *testing.T) {
	s := NewSender(Messages)
	sent := []Message{{Payload: []byte("a")}, {Payload: []byte("{}"), JSON: true}, {}, {Payload: text(0, MaxPayload)}, {Payload: []byte("b")}}
	for _, m := range sent {
		s.Keep(m)
	}
	pieces := s.Next(nil, 1<<30)
	if len(pieces) != len(sent) || s.Position() != 5 || s.Held() != 4+MaxPayload+5*messageSize {
		t.Fatalf("%d pieces, position %d, %d held", len(pieces), s.Position(), s.Held())
	}
	for i, p := range pieces {
		if !bytes.Equal(p.Payload, sent[i].Payload) || p.JSON != sent[i].JSON || p.Position != uint64(i+1) {
			t.Errorf("message %d: %d bytes, %v, %d", i, len(p.Payload), p.JSON, p.Position)
		}
	}
	s.Wrote()
	must(t, s.Acked(2, 0))
	must(t, s.Rewind(2))
	if got := positions(s.Next(nil, 1)); got != "[3 4]" { // an empty one has no bytes
		t.Errorf("after a rewind, about a byte: %s", got)
	}
	if got := positions(s.Next(nil, 0)); got != "[5]" {
		t.Errorf("at least one: %s", got)
	}
}

func TestSenderIgnoresNoBytes(t *testing.T) {
	s := NewSender(Bytes)
	s.Keep(Message{Buf: wsock.TakeBuffer()})
	if s.kept != nil || s.Position() != 0 || s.Pending() {
		t.Error("an empty payload is kept")
	}
}

func TestSenderSplitsLongPayloads(t *testing.T) {
	s := NewSender(Bytes)
	must(t, s.Acked(0, 1<<20))
	keep(s, 2*MaxPayload+5)
	if got := positions(s.Next(nil, 1)); got != "[65536]" {
		t.Errorf("about a byte: %s", got)
	}
	if got := positions(s.Next(nil, MaxPayload+1)); got != "[131072 131077]" {
		t.Errorf("more than a message: %s", got)
	}
	s.Wrote()
	must(t, s.Rewind(65530))
	if got := positions(write(t, s)); got != "[131066 131077]" {
		t.Errorf("from the middle: %s", got)
	}
}

func TestSenderSendsNothingBeyondTheLimit(t *testing.T) {
	s := NewSender(Bytes)
	if s.Room() != 64<<10 || NewSender(Messages).Room() != 64 {
		t.Fatal("the first limit is another")
	}
	keep(s, 60_000)
	write(t, s)
	must(t, s.Acked(100, 50_000)) // lower than before: it says nothing
	if s.Room() != 5536 {
		t.Errorf("there is room for %d", s.Room())
	}
	keep(s, 10_000) // more than that
	if got := positions(write(t, s)); s.Room() != 0 || got != "[65536]" {
		t.Errorf("room for %d, sent up to %s", s.Room(), got)
	}
	must(t, s.Acked(0, 69_999))
	if got := positions(write(t, s)); s.Room() != 0 || got != "[69999]" || s.Acknowledged() != 100 {
		t.Errorf("room for %d, sent up to %s", s.Room(), got)
	}
	must(t, s.Acked(69_999, 1<<63))
	if s.Room() != messages.MaxPosition-70_000 {
		t.Errorf("room for %d, which is beyond what positions can say", s.Room())
	}
}

func TestSenderRefusesAcksOfTheFuture(t *testing.T) {
	s := NewSender(Bytes)
	keep(s, 1000)
	if s.Acked(1, 1<<40) != ErrNeverSent || s.Rewind(1) != ErrNeverSent {
		t.Error("what is only kept can be acknowledged")
	}
	s.Next(nil, 1)
	for _, p := range []uint64{1001, 1 << 53, 1 << 63, 1<<64 - 1} {
		if s.Acked(p, 1<<40) != ErrNeverSent || s.Rewind(p) == nil {
			t.Errorf("%d can be acknowledged", p)
		}
	}
	if s.Room() != 64<<10-1000 {
		t.Error("an ack that was refused has changed the limit")
	}
}

func TestSenderRewinds(t *testing.T) {
	s := NewSender(Bytes)
	keep(s, 30_000)
	keep(s, 300)
	keep(s, 30_000)
	write(t, s)
	for _, to := range []uint64{60_300, 30_299, 30_300, 29_999, 30_000, 1, 0} {
		must(t, s.Rewind(to))
		write(t, s)
		if s.Sent() != 60_300 {
			t.Fatalf("sent has fallen to %d", s.Sent())
		}
	}
	must(t, s.Acked(30_100, 0))
	if s.Held() != 30_300 || s.Rewind(30_099) != ErrNotKept {
		t.Errorf("%d bytes are held", s.Held())
	}
	must(t, s.Rewind(30_100))
	if got := positions(write(t, s)); got != "[30300 60300]" {
		t.Errorf("sent again up to %s", got)
	}
	must(t, s.Rewind(45_000))
	s.Next(nil, 1)
	if s.Rewind(30_100) != ErrInFlight {
		t.Error("what is in flight can be taken back")
	}
	s.Wrote()
	must(t, s.Rewind(30_100))
}

// A client that acknowledges what it has not been sent again has it.
func TestSenderSkipsWhatIsAcknowledged(t *testing.T) {
	s := NewSender(Bytes)
	keep(s, 30_000)
	keep(s, 30_000)
	write(t, s)
	must(t, s.Rewind(0))
	must(t, s.Acked(35_000, 0))
	if got := positions(write(t, s)); got != "[60000]" || s.Held() != 30_000 {
		t.Errorf("sent up to %s", got)
	}
}

// givenBack reports whether the pool has a buffer.
func givenBack(buf *wsock.Buffer) (found bool) {
	var all []*wsock.Buffer
	for range 32 {
		taken := wsock.TakeBuffer()
		found = found || taken == buf
		all = append(all, taken)
	}
	for _, b := range all {
		wsock.GiveBuffer(b)
	}
	return found
}

// times is how often a test looks for a buffer in the pool, which loses some of
// what it is given, with the race detector more.
const times = 40

func TestSenderGivesBuffersBack(t *testing.T) {
	for name, after := range map[string]func(*Sender){
		"all":       func(s *Sender) { _ = s.Acked(s.Position(), 0) },
		"it alone":  func(s *Sender) { _ = s.Acked(30_000, 0) },
		"the owner": (*Sender).Drop,
	} {
		seen := 0
		for range times {
			s := NewSender(Bytes)
			m := inBuffer(s, 30_000)
			s.Keep(m)
			keep(s, 1000)
			write(t, s)
			_ = s.Acked(29_999, 0)
			if givenBack(m.Buf) {
				t.Fatal("the buffer went back with a byte missing")
			}
			after(s)
			if givenBack(m.Buf) {
				seen++
			}
		}
		if seen == 0 {
			t.Errorf("%s: the buffer was not given back in %d times", name, times)
		}
	}
	seen := 0
	for range times {
		s := NewSender(Messages)
		m := inBuffer(s, 100)
		if s.Keep(m); givenBack(m.Buf) {
			seen++
		}
		if p := s.Next(nil, 1); unsafe.SliceData(p[0].Payload) == unsafe.SliceData(m.Payload) {
			t.Fatal("a small payload is not copied")
		}
	}
	if seen == 0 {
		t.Error("the buffer of a small payload is not given back at once")
	}
}

// An ack may come, or the session end, before the write has returned.
func TestSenderKeepsWhatIsInFlight(t *testing.T) {
	for name, meanwhile := range map[string]func(*Sender){
		"acknowledged": func(s *Sender) { _ = s.Acked(60_000, 0) },
		"dropped":      (*Sender).Drop,
	} {
		before, after := 0, 0
		for range times {
			s := NewSender(Bytes)
			first, second := inBuffer(s, 30_000), Message{}
			s.Keep(first)
			second = inBuffer(s, 30_000)
			s.Keep(second)
			s.Next(nil, 1)
			s.Wrote()
			pieces := s.Next(nil, 1)
			meanwhile(s)
			if givenBack(second.Buf) {
				t.Fatalf("%s: what is in flight went back", name)
			}
			if givenBack(first.Buf) {
				before++
			}
			if !bytes.Equal(pieces[0].Payload, text(30_000, 60_000)) || s.Held() != 30_000 {
				t.Fatalf("%s: %d bytes are held", name, s.Held())
			}
			s.Wrote()
			if s.Held() != 0 || s.kept != nil {
				t.Fatalf("%s: %d bytes are held after the write", name, s.Held())
			}
			if givenBack(second.Buf) {
				after++
			}
		}
		if before == 0 || after == 0 {
			t.Errorf("%s: in %d times what was not in flight went back %d times, and what was %d times", name, times, before, after)
		}
	}
}

func TestSenderKeepsNothingAfterDrop(t *testing.T) {
	s := NewSender(Bytes)
	keep(s, 45_000)
	keep(s, 10)
	s.Drop()
	s.Keep(inBuffer(s, 30_000))
	if s.Held() != 0 || s.kept != nil || s.Pending() || s.Room() != 0 || s.Next(nil, 1) != nil {
		t.Errorf("%d bytes are held", s.Held())
	}
}

// In a session that never has everything acknowledged the list doesn't grow.
func TestSenderForgetsWhatIsAcknowledged(t *testing.T) {
	for _, unit := range []Unit{Bytes, Messages} {
		s, payload := NewSender(unit), text(0, 30_000)
		for range 10_000 {
			s.Keep(Message{Payload: payload})
			s.Next(nil, 1<<20)
			s.Wrote()
			must(t, s.Acked(s.Position()-1, s.Position()+64<<10))
		}
		if cap(s.kept) > 16 || s.Held() > 40_000 {
			t.Errorf("%d chunks have room, %d bytes are held", cap(s.kept), s.Held())
		}
	}
}

func TestSenderCountsUpToTheEnd(t *testing.T) {
	s := NewSender(Bytes)
	s.end, s.next, s.sent, s.acked, s.limit = messages.MaxPosition-70_000, messages.MaxPosition-70_000, messages.MaxPosition-70_000, messages.MaxPosition-70_000, messages.MaxPosition-70_000
	must(t, s.Acked(s.sent, messages.MaxPosition+5))
	keep(s, int(s.Room()))
	write(t, s)
	must(t, s.Rewind(messages.MaxPosition-1))
	if got := positions(write(t, s)); got != "[9007199254740991]" || s.Room() != 0 {
		t.Errorf("sent up to %s", got)
	}
	must(t, s.Acked(messages.MaxPosition, messages.MaxPosition))
	if s.kept != nil {
		t.Error("it holds something")
	}
}
