package session

import "testing"

// A server keeps what is not acknowledged in a bounded number of bytes, so few long
// messages are acknowledged as well as many short ones, which raise the limit first.
func TestAckByBytes(t *testing.T) {
	for _, test := range []struct {
		unacked
		due bool
	}{
		{unacked{bytes: 2 * 32740, messages: 2}, false},
		{unacked{bytes: 3 * 32740, messages: 3}, true},
		{unacked{bytes: 31 * 3000, messages: 31}, false},
		{unacked{bytes: 31 * 3000, messages: 31, wide: true}, true},
		{unacked{}, false},
	} {
		if test.isDue() != test.due {
			t.Errorf("an ack of %+v is due: %t", test.unacked, !test.due)
		}
	}
}
