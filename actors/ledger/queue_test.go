package ledger

import (
	"net/netip"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// Whatever sources there are, the queue has an end.
func TestQueueIsBounded(t *testing.T) {
	book := New([messages.ClaimKinds]int{messages.ClaimHTTP: 1})
	holder := &actor.PID{Id: "holder"}
	waits := 0
	for i := range 2 * maxWaiting {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		claims := []messages.Claim{{Kind: messages.ClaimHTTP, Source: netip.PrefixFrom(addr, 32)}}
		book.Grant("other", claims)
		if tag := addr.String(); book.MayWait(holder.Id, tag, claims) {
			book.Wait(&Waiting{Holder: holder, Claims: claims, Tag: tag})
			waits++
		}
	}
	if waits != 16384 {
		t.Errorf("%d wait", waits)
	}
}
