package wsock

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"wsproxy/internal/testkit"
)

// The decoder unmasks towards the start of its buffer, over bytes that it has
// read already: by any distance, to and from any alignment, with the key at any
// of its bytes.
func TestUnmaskAgreesWithTheNaiveLoop(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	arena := make([]byte, 256)
	for length := range 102 { // three times the stride and all remainders
		for back := range 34 {
			for range 2 {
				for i := 0; i < len(arena); i += 8 {
					binary.LittleEndian.PutUint64(arena[i:], random.Uint64())
				}
				key := random.Uint32()
				at := 34 + random.IntN(40)
				want := bytes.Clone(arena)
				naive := key
				for i := range length {
					want[at-back+i] = arena[at+i] ^ byte(naive)
					naive = naive>>8 | naive<<24
				}
				got := unmask(arena[at-back:at-back+length], arena[at:at+length], key)
				if !bytes.Equal(arena, want) {
					t.Fatalf("length %d, %d bytes back, from %d: wrong bytes", length, back, at)
				}
				if got != naive {
					t.Fatalf("length %d: the key is %#x after it, want %#x", length, got, naive)
				}
			}
		}
	}
}

func TestUnmaskTwiceIsNothing(t *testing.T) {
	p := testkit.Pattern(1000)
	unmask(p, p, 0xdeadbeef)
	if bytes.Equal(p, testkit.Pattern(1000)) {
		t.Fatal("it changes nothing")
	}
	unmask(p, p, 0xdeadbeef)
	if !bytes.Equal(p, testkit.Pattern(1000)) {
		t.Error("the bytes are not what they were")
	}
}

func TestCloseCodesThatMayBeSent(t *testing.T) {
	legal := func(code int) bool {
		switch {
		case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
			return true
		}
		return false
	}
	for code := range 1 << 16 {
		if got := validClose(testkit.ClosePayload(code, "")); got != legal(code) {
			t.Errorf("code %d: %v", code, got)
		}
	}
	for _, c := range []struct {
		payload string
		valid   bool
	}{
		{"", true}, {"\x03", false}, {"\x03\xe8", true}, {"\x03\xe8bye", true}, {"\x03\xe8\xff", false},
		{"\x03\xe8\xc3", false}, {"\x03\xe8\xc3\xa4", true}, {"\x03\xed", false},
	} {
		if got := validClose([]byte(c.payload)); got != c.valid {
			t.Errorf("%q: %v, want %v", c.payload, got, c.valid)
		}
	}
}

func TestCloseFrameFitsWhateverTheText(t *testing.T) {
	for _, n := range []int{0, 1, 122, 123, 124, 1000} {
		f := closeFrame(1011, string(bytes.Repeat([]byte("x"), n)))
		if f[0] != 0x88 || int(f[1]) != len(f)-2 || len(f) > 127 || len(f) != 4+min(n, 123) {
			t.Errorf("a text of %d bytes makes a frame of %d, header %x", n, len(f), f[:2])
		}
		if binary.BigEndian.Uint16(f[2:]) != 1011 || !utf8.Valid(f[4:]) {
			t.Errorf("the frame is %q", f)
		}
	}
}
