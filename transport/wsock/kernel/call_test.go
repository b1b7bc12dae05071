//go:build !windows

package kernel

import (
	"slices"
	"testing"
)

// A call that waits to read has no room for the pieces that others have sent by it, and
// refers to none of them.
func TestCallsKeepLittle(t *testing.T) {
	for _, count := range []int{1, keptPieces, keptPieces + 1, 5000} {
		c := calls.New().(*call)
		c.p = slices.Repeat([][]byte{{1}}, count)
		c.b, c.left = c.p[0], c.p
		pieces := c.p
		c.end(nil)
		if cap(c.p) > keptPieces || c.b != nil || c.left != nil {
			t.Errorf("behind %d pieces there is room for %d, %v, %v", count, cap(c.p), c.b, c.left)
		}
		if slices.ContainsFunc(pieces, func(p []byte) bool { return p != nil }) {
			t.Errorf("behind %d pieces there is still one", count)
		}
	}
}
