package wsock

import (
	"bytes"
	"testing"

	"wsproxy/internal/testkit"
)

// A masked frame of pieces of any length has the header that its length asks for, and the
// bytes of all pieces under one key.
func TestAppendMasked(t *testing.T) {
	const key = 0x04030201
	for _, n := range []int{0, 1, 125, 126, 1000, 65535, 65536} {
		payload := testkit.Pattern(n)
		for _, cut := range []int{0, min(n, 1), n / 3, n} {
			got := AppendMasked([]byte("before"), OpBinary, key, payload[:cut], payload[cut:])
			want := AppendHeader([]byte("before"), OpBinary, n)
			want[len("before")+1] |= 0x80
			want = append(want, 1, 2, 3, 4)
			for i, b := range payload {
				want = append(want, b^byte(1+i%4))
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, cut behind %d", n, cut)
			}
		}
	}
}
