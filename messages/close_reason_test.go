package messages

import (
	"slices"
	"testing"
)

// The protocol's list of what tcp_close may say is fixed: clients know no other.
func TestOnlyTheReasonsOfTheProtocolAreTold(t *testing.T) {
	protocol := []CloseReason{"eof", "reset", "limit", "slow", "unknown", "restart", "shutdown"}
	for _, r := range []CloseReason{
		CloseEOF, CloseReset, CloseLimit, CloseSlow, CloseUnknown, CloseRestart, CloseShutdown,
		CloseClient, CloseClientReset, CloseRefused, CloseTunnelEnded, CloseIdle, "",
	} {
		want := slices.Contains(protocol, r) || r == CloseIdle
		if r.IsTold() != want {
			t.Errorf("that %q is told is %v, want %v", r, r.IsTold(), want)
		}
		if want && !slices.Contains(protocol, r.wire()) {
			t.Errorf("a client is told %q", r.wire())
		}
	}
	if got := string(EncodeClose("c", CloseIdle)); got != `{"type":"tcp_close","connId":"c","reason":"reset"}` {
		t.Errorf("of an idle connection a client is told %s", got)
	}
}
