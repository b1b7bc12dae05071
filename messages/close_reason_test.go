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
		CloseClient, CloseClientReset, CloseRefused, CloseTunnelEnded, "",
	} {
		if want := slices.Contains(protocol, r); r.IsTold() != want {
			t.Errorf("that %q is told is %v, want %v", r, r.IsTold(), want)
		}
	}
}
