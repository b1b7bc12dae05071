package wsock

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzFrames reads the same bytes with the decoder, cut into pieces in several
// ways, and with gorilla's server. Where the two differ, it must be for one of
// the reasons that are listed in excused.
func FuzzFrames(f *testing.F) {
	for i, c := range frameCases {
		if len(c.input) <= 4096 {
			f.Add(c.input, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, seed uint64) {
		texts := seed%2 > 0 // a tunnel's client may send them
		ours, d := decoderReads(t, input, true, texts, func() int { return len(input) })
		random := rand.New(rand.NewPCG(seed, 1))
		for name, cut := range map[string]func() int{
			"random": func() int { return 1 + random.IntN(1+random.IntN(40)) },
			"single": func() int { return 1 },
		} {
			if name == "single" && len(input) > 4096 {
				continue
			}
			cutUp, _ := decoderReads(t, input, true, texts, cut)
			sameReading(t, name+" pieces", cutUp, ours)
			if !slices.EqualFunc(cutUp.messages, ours.messages, bytes.Equal) {
				t.Fatalf("%s pieces: the messages differ", name)
			}
			cutUp, _ = decoderReads(t, input, false, texts, cut)
			sameReading(t, name+" pieces, not by message", cutUp, ours)
		}

		theirs := gorillaReads(t, input, texts)
		if theirs.outcome == outcomeBig && ours.outcome == outcomeOpen {
			// Lengths of fragments that add up to more than an int64: here
			// nothing counts them, and no input is as long.
			if !bytes.HasPrefix(ours.payload, theirs.payload) || !slices.Equal(ours.pings, theirs.pings) {
				t.Fatalf("before the difference: payload %q, gorilla %q", ours.payload, theirs.payload)
			}
			return
		}
		if excused(ours, theirs, d) {
			if !bytes.HasPrefix(theirs.payload, ours.payload) || len(ours.pings) > len(theirs.pings) {
				t.Fatalf("before the difference: payload %q, gorilla %q", ours.payload, theirs.payload)
			}
			return
		}
		if ours.outcome == outcomeOpen && !d.inFrame && d.headLen > 0 {
			theirs.outcome = outcomeOpen // gorilla judges the first two bytes of a header by themselves
		}
		sameReading(t, "gorilla", ours, theirs)
		if !slices.EqualFunc(ours.messages, theirs.messages, bytes.Equal) {
			t.Fatalf("the messages are %q, gorilla's %q", ours.messages, theirs.messages)
		}
	})
}

func sameReading(t *testing.T, how string, got, want reading) {
	t.Helper()
	if !bytes.Equal(got.payload, want.payload) {
		t.Fatalf("%s: payload %q, want %q", how, got.payload, want.payload)
	}
	if !slices.Equal(got.pings, want.pings) {
		t.Fatalf("%s: pings %q, want %q", how, got.pings, want.pings)
	}
	if got.outcome != want.outcome || got.code != want.code {
		t.Fatalf("%s: outcome %s %d, want %s %d", how, got.outcome, got.code, want.outcome, want.code)
	}
}

// excused reports whether the difference is one where gorilla does not follow
// the RFC, or the registry of close codes has grown since.
func excused(ours, theirs reading, d *decoder) bool {
	switch ours.outcome {
	case outcomeBad:
		return longForm(d) || d.opcode == opClose && ofOneByte(d)
	case outcomeClose:
		return theirs.outcome == outcomeBad && ours.code == 1014 // Bad Gateway, registered in 2014
	}
	return false
}

// longForm reports whether the last header has its length in more bytes than
// it needs, or with the first bit set, which section 5.2 forbids: gorilla takes
// the one, and the other for a message that is too long.
func longForm(d *decoder) bool {
	switch d.head[1] & 0x7f {
	case 126:
		return binary.BigEndian.Uint16(d.head[2:]) < 126
	case 127:
		n := binary.BigEndian.Uint64(d.head[2:])
		return n < 1<<16 || n >= 1<<63
	}
	return false
}

// ofOneByte reports whether the control frame has one byte of payload,
// which is no close code: section 5.5.1 wants two. gorilla takes it for none.
func ofOneByte(d *decoder) bool { return d.head[1]&0x7f == 1 }
