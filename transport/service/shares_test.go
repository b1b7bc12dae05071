package service

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
)

// One address has half of the connections. Whoever waits beyond that goes on in
// turn, and what gives up waiting takes nothing along.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Settings{Max: 4})
		one, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
		hasCome := func(turn *Turn) bool {
			select {
			case <-turn.Come():
				return true
			default:
				return false
			}
		}
		var held []*Turn
		for _, source := range []netip.Prefix{one, one, other} {
			turn := p.Turn(source)
			if !hasCome(turn) {
				t.Fatal("there is no turn")
			}
			held = append(held, turn)
		}
		var order []string
		waits := func(ctx context.Context, name string) {
			turn := p.Turn(one)
			go func() {
				select {
				case <-turn.Come():
					order = append(order, name)
				case <-ctx.Done():
					order = append(order, "not "+name)
				}
				turn.GiveBack()
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits(ctx, "a")
		waits(t.Context(), "b")
		waits(t.Context(), "c")
		cancel()
		synctest.Wait()
		held[2].GiveBack() // another address's
		synctest.Wait()
		held[0].GiveBack()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[not a b c]" {
			t.Errorf("the order is %s", got)
		}
		held[1].GiveBack()
		if len(p.shares.sources) != 0 || p.shares.used != 0 {
			t.Errorf("%d addresses are remembered, and %d turns", len(p.shares.sources), p.shares.used)
		}

		// All of them are used, whoever has them; an address that may have none more lets others by.
		third := netip.MustParsePrefix("192.0.2.3/32")
		held = []*Turn{p.Turn(one), p.Turn(one), p.Turn(other), p.Turn(one), p.Turn(third), p.Turn(other)}
		for i, want := range []bool{true, true, true, false, true, false} {
			if hasCome(held[i]) != want {
				t.Errorf("turn %d has come: %t", i, !want)
			}
		}
		held[4].GiveBack()
		if !hasCome(held[5]) || hasCome(held[3]) {
			t.Error("it is not the turn of who waits for any connection")
		}
	})
}
