package actors

import (
	"testing"

	"wsproxy/messages"
)

// What was passed on beside the mailboxes comes back as credit like any other, and counts
// against the window.
func TestCreditForWhatWasPassedOn(t *testing.T) {
	const quarter = messages.Window / 4
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		s := v.accepts("c1")
		v.toConn(s, &messages.PassedOn{N: quarter - 1})
		v.wantCredit("c1")
		v.toConn(s, &messages.PassedOn{N: 1})
		v.wantCredit("c1", quarter)
		v.tell(data("c1", messages.Window-1)) // which waits
		v.wantStream(s, "write 262143")
		v.toConn(s, &messages.PassedOn{N: 1})
		v.wantStream(s, "")
		v.toConn(s, &messages.PassedOn{N: 1})
		v.wantStream(s, "abort limit")
	})
}
