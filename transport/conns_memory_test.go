package transport

import (
	"strings"
	"testing"
)

// When there is no memory for a header the peer gives way whose headers hold
// most, and no more of it than is needed. Nobody makes room for more than the
// others have.
func TestHeadersOfThePeerThatHoldsMostGiveWay(t *testing.T) {
	c := newCrowd(t, 9, 0, "198.51.100.0/24")
	var heavy []*edgeConn
	for range 4 {
		e := c.come("192.0.2.1")
		c.work(e)
		c.hold(e, 8<<10)
		heavy = append(heavy, e)
	}
	other := c.come("192.0.2.2")
	c.hold(other, 8<<10)
	newcomer := c.come("192.0.2.3")
	closed := func() (n int) {
		for _, e := range heavy {
			if isClosed(e) {
				n++
			}
		}
		return n
	}
	if c.makeRoom(heavy[0], 4<<10) {
		t.Error("the peer that holds most has others give way")
	}
	if !c.makeRoom(newcomer, 4<<10) || closed() != 1 || isClosed(other) {
		t.Errorf("%d gave way, of the other peer: %v", closed(), isClosed(other))
	}
	c.hold(newcomer, 4<<10)
	if !c.makeRoom(c.come("198.51.100.1"), 12<<10) || closed() != 3 { // which has no peer's part
		t.Errorf("%d gave way", closed())
	}
	c.hold(newcomer, 4<<10)
	if c.makeRoom(newcomer, 4<<10) {
		t.Error("it gets more than any other has")
	}
	if got := strings.Join(c.take(), "|"); got != "http memory|http memory|http memory" {
		t.Errorf("counted as %s", got)
	}
	for _, e := range append(heavy, other, newcomer) {
		c.release(e)
		c.leave(e)
	}
	if len(c.headers) != 0 {
		t.Errorf("%d headers are left", len(c.headers))
	}
}
