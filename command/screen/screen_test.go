package screen

import "testing"

// Whatever a stranger asks for, a line is a line, of printable characters.
func FuzzEscape(f *testing.F) {
	f.Add("/\x1b]0;x\x07", 20)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		got := Escape(s, max(columns, 1))
		for _, r := range got {
			if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x202e || r == 0x2028 {
				t.Fatalf("%q", got)
			}
		}
		if n := len([]rune(got)); n > max(columns, 1) {
			t.Fatalf("%q has %d columns, not %d", got, n, columns)
		}
	})
}
