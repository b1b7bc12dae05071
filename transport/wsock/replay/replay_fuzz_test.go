package replay

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// Both fuzz targets read a schedule: what an owner does, and what a hostile other
// side says, one step after the other.

// A schedule is read byte by byte, and then there are zeros.
type schedule []byte

func (s *schedule) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

// near returns a position about one of those given, or far from all.
func (s *schedule) near(positions ...uint64) uint64 {
	far := []uint64{0, 1 << 16, messages.MaxPosition, 1 << 63, 1<<64 - 1}
	which := s.next() % (len(positions) + 1)
	if which == len(positions) {
		return far[s.next()%len(far)]
	}
	offsets := []uint64{0, 0, 0, 1, 100, 10_000, 1 << 16, 1 << 20}
	offset := offsets[s.next()%len(offsets)]
	if s.next()%2 == 0 && offset <= positions[which] {
		return positions[which] - offset
	}
	return positions[which] + offset
}

func addSchedules(f *testing.F) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 50*(1+seed%10))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b, seed%3 == 0)
	}
}

var spoilt = bytes.Repeat([]byte{0xEE}, 64)

// spoil overwrites where messages begin in buffers that are in the pool. If one
// of them is in use, that is seen.
func spoil() {
	var all [4]*wsock.Buffer
	for i := range all {
		all[i] = wsock.TakeBuffer()
		copy(all[i][:], spoilt)
	}
	for _, b := range all {
		wsock.GiveBuffer(b)
	}
}

// A sending is what is known of a Sender without looking into it.
type sending struct {
	*testing.T
	s                             *Sender
	unit                          Unit
	end, next, sent, acked, limit uint64
	sizes                         []int // of messages
	flight                        []Piece
	from                          uint64
}

// payload returns what stands between two positions.
func (k *sending) payload(from, to uint64) []byte {
	if k.unit == Messages {
		return stream[from : from+uint64(k.sizes[from])]
	}
	return stream[from:to]
}

func (k *sending) intact() {
	at := k.from
	for _, p := range k.flight {
		if p.Position <= at || k.unit == Messages && (p.Position != at+1 || p.JSON != (at%2 == 0)) {
			k.Fatalf("a piece is up to %d at %d", p.Position, at)
		}
		if !bytes.Equal(p.Payload, k.payload(at, p.Position)) || len(p.Payload) > MaxPayload {
			k.Fatalf("what is in flight from %d to %d is something else", at, p.Position)
		}
		at = p.Position
	}
}

func (k *sending) keep(in *schedule) {
	sizes := []int{0, 1, 7, 300, 1000, 20_000, Poolable - 1, Poolable, wsock.BufferSize, MaxPayload, MaxPayload + 1}
	n := sizes[in.next()%len(sizes)]
	units := uint64(n)
	if k.unit == Messages {
		n, units = min(n, MaxPayload), 1
	}
	if uint64(k.s.Room()) < units && in.next()%4 > 0 || k.end+units > uint64(len(stream)-MaxPayload) {
		return
	}
	k.sizes = append(k.sizes, n)
	m := Message{JSON: k.unit == Messages && k.end%2 == 0}
	payload := stream[k.end : k.end+uint64(n)]
	if n <= wsock.BufferSize && in.next()%2 == 0 {
		m.Buf = wsock.TakeBuffer()
		m.Payload = append(m.Buf[:0], payload...)
	} else {
		m.Payload = bytes.Clone(payload)
	}
	k.s.Keep(m)
	k.end += units
}

func (k *sending) ack(in *schedule) {
	position, limit := in.near(k.acked, k.sent, k.next, k.end), in.near(k.limit, k.end, k.acked)
	err := k.s.Acked(position, limit)
	if (err != nil) != (position > k.sent) {
		k.Fatalf("an ack of %d, %d are sent: %v", position, k.sent, err)
	}
	if err == nil {
		k.acked = max(k.acked, position)
		k.next = max(k.next, k.acked)
		k.limit = max(k.limit, min(limit, messages.MaxPosition))
	}
}

func (k *sending) rewind(to uint64) {
	err, want := k.s.Rewind(to), error(nil)
	switch {
	case k.flight != nil:
		want = ErrInFlight
	case to > k.sent:
		want = ErrNeverSent
	case to < k.acked:
		want = ErrNotKept
	default:
		k.next = to
	}
	if err != want {
		k.Fatalf("back to %d of %d to %d: %v, want %v", to, k.acked, k.sent, err, want)
	}
}

func (k *sending) write(most int) {
	if k.flight == nil {
		k.from = k.next
	} else if last := k.flight[len(k.flight)-1].Position; last != k.next {
		return // an ack has gone further than the write that is under way
	}
	pending := k.next < min(k.end, k.limit)
	before := len(k.flight)
	if k.s.Pending() != pending {
		k.Fatalf("pending: %v at %d of %d, %d", !pending, k.next, k.end, k.limit)
	}
	k.flight = k.s.Next(k.flight, most)
	if (len(k.flight) > before) != pending {
		k.Fatalf("there are %d pieces", len(k.flight)-before)
	}
	if pending {
		k.next = k.flight[len(k.flight)-1].Position
		k.sent = max(k.sent, k.next)
	}
	k.intact()
}

func (k *sending) wrote() {
	k.intact()
	k.s.Wrote()
	k.flight = nil
}

func (k *sending) check() {
	s := k.s
	if s.Position() != k.end || s.Sent() != k.sent || s.Acknowledged() != k.acked || k.next > min(k.end, k.limit) && k.next > k.acked {
		k.Fatalf("%d, %d, %d instead of %d, %d, %d; next is %d", s.Position(), s.Sent(), s.Acknowledged(), k.end, k.sent, k.acked, k.next)
	}
	if want := int64(k.limit) - int64(k.end); s.Room() != max(want, 0) {
		k.Fatalf("there is room for %d, not %d", s.Room(), want)
	}
	if k.acked == k.end && k.flight == nil && (s.kept != nil || s.Held() != 0) {
		k.Fatalf("everything is acknowledged, and %d bytes are held", s.Held())
	}
	var held int64
	for _, c := range s.kept[s.freed:] {
		held += s.size(len(c.payload))
	}
	if held != s.Held() {
		k.Fatalf("%d bytes are held, and %d are told", held, s.Held())
	}
}

func FuzzSender(f *testing.F) {
	addSchedules(f)
	f.Fuzz(func(t *testing.T, b []byte, counted bool) {
		unit := Bytes
		if counted {
			unit = Messages
		}
		k := &sending{T: t, unit: unit, s: NewSender(unit), limit: unit.FirstLimit()}
		for in := (schedule)(b[:min(len(b), 500)]); len(in) > 0; k.check() {
			switch in.next() % 8 {
			case 0, 1, 2:
				k.keep(&in)
			case 3, 4:
				k.write([]int{0, 1, 20_000, 1 << 17, 1 << 30}[in.next()%5])
			case 5:
				k.wrote()
			case 6:
				k.ack(&in)
			case 7:
				k.rewind(in.near(k.acked, k.sent, k.next))
			}
			spoil()
		}
		k.wrote() // and all that is kept is still there
		k.limit = messages.MaxPosition
		must(t, k.s.Acked(0, k.limit))
		k.rewind(k.acked)
		for k.next < k.end {
			k.write(1 << 30)
			spoil()
		}
		if k.s.Drop(); k.flight != nil {
			spoil()
			k.wrote()
		}
		if k.s.Held() != 0 || k.s.kept != nil {
			t.Fatalf("in the end %d bytes are held", k.s.Held())
		}
	})
}

func FuzzReceiver(f *testing.F) {
	addSchedules(f)
	f.Fuzz(func(t *testing.T, b []byte, counted bool) {
		unit := Bytes
		if counted {
			unit = Messages
		}
		in := schedule(b)
		first := int64(unit.FirstLimit())
		r, pool := wide(unit, first*int64(in.next()%20), first*int64(in.next()%20))
		most := max(first, r.MaxWindow)
		var received, passed, acked, told, ended = int64(0), int64(0), int64(0), first, false
		for len(in) > 0 {
			switch in.next() % 8 {
			case 0, 1, 2:
				n := []int64{0, 1, first / 8, first / 2, told - received, told - received + 1}[in.next()%6]
				err, want := r.Came(n), error(nil)
				switch {
				case n == 0:
				case ended:
					want = ErrBehindEnd
				case received+n > told:
					want = ErrBeyondLimit
				default:
					received += n
				}
				if err != want {
					t.Fatalf("%d more at %d of %d: %v, want %v", n, received, told, err, want)
				}
			case 3, 4:
				n := []int64{0, 1, r.Unpassed() / 2, r.Unpassed()}[in.next()%4]
				r.Passed(n)
				passed = min(passed+n, received)
			case 5, 6:
				position, limit := r.Ack()
				if int64(position) != passed || int64(limit) < max(told, passed+first) || int64(limit)-passed > most {
					t.Fatalf("an ack says %d, %d; %d are passed on, and %d were told", position, limit, passed, told)
				}
				acked, told = passed, int64(limit)
			case 7:
				if in.next()%8 == 0 && unit == Bytes {
					r.Ended()
					ended = true
				} else {
					r.Quiet()
				}
			}
			if r.Position() != uint64(received) || r.Unpassed() != received-passed || r.Waits() != (passed != acked) || r.Due() && !r.Waits() {
				t.Fatalf("%d are received, %d are not passed on", r.Position(), r.Unpassed())
			}
			if pool.left < 0 || pool.taken < told-passed-first || pool.taken > most-first {
				t.Fatalf("%d may come, %d are taken, there is room for %d", told-passed, pool.taken, pool.left)
			}
		}
		if r.Drop(); pool.taken != 0 {
			t.Fatalf("in the end %d are left", pool.taken)
		}
	})
}
