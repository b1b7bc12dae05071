package fields

import "testing"

func TestContentLengthOfAnAnswer(t *testing.T) {
	for _, c := range []struct {
		lines []string
		n     int64
		ok    bool
	}{
		{nil, 0, false},
		{[]string{"0"}, 0, true},
		{[]string{"5"}, 5, true},
		{[]string{" 5\t"}, 5, true},
		{[]string{"005"}, 5, true},
		{[]string{"5, 5"}, 5, true},
		{[]string{"5", "5,5"}, 5, true},
		{[]string{"9223372036854775807"}, 1<<63 - 1, true},
		{[]string{"5, 6"}, 0, false},
		{[]string{"5", "6"}, 0, false},
		{[]string{"0", "6"}, 0, false},
		{[]string{"9223372036854775808"}, 0, false},
		{[]string{""}, 0, false}, {[]string{"5,"}, 0, false}, {[]string{"-5"}, 0, false}, {[]string{"+5"}, 0, false},
		{[]string{"5 5"}, 0, false}, {[]string{"0x5"}, 0, false}, {[]string{"5.0"}, 0, false}, {[]string{"1_0"}, 0, false}, {[]string{"five"}, 0, false},
	} {
		n, ok := Framing{lengths: c.lines}.ContentLength()
		if ok != c.ok || ok && n != c.n {
			t.Errorf("%q is read as %d, %t", c.lines, n, ok)
		}
	}
}
