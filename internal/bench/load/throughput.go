package load

import (
	"errors"
	"flag"
	"fmt"
	"sync/atomic"

	"wsproxy/internal/bench/measure"
	"wsproxy/internal/bench/wire"
)

func relayThroughput(fs *flag.FlagSet) func(*bench) error {
	conns := fs.Int("conns", 4, "how many relays")
	bytes := size(fs, "bytes", 256<<20, "`bytes` that each moves")
	dir := direction(fs, "target to WebSocket", "WebSocket to target")
	message := size(fs, "msg", 32<<10, "`size` of the messages that are sent up")
	resume := fs.Bool("resume", false, "relays outlive their WebSocket")
	return func(b *bench) error {
		up, err := isUp(*dir)
		if err != nil {
			return err
		}
		if *conns < 1 || *bytes < 1 || *message < 1 || *message > 64<<10 {
			return errors.New("-conns, -bytes and -msg must be at least 1, and -msg at most 64KiB")
		}
		if err := measure.RaiseDescriptors(2**conns + 100); err != nil {
			return err
		}
		p, err := b.NewPeer(*conns)
		if err != nil {
			return err
		}
		relays := make([]*wire.Relay, *conns)
		err = b.Parallel(*conns, wire.OpenLimit, func(i int) (err error) {
			relays[i], err = p.Open(i, *resume, wire.Buffers{Read: 64 << 10, Write: int(*message) + 100})
			return err
		})
		if err != nil {
			return err
		}
		var over atomic.Bool
		var flows []func() error
		for _, r := range relays {
			if !up {
				flows = append(flows,
					func() error { return wire.SendTCP(r.Target, wire.NewStream(r.ID, wire.LaneDown), *bytes) },
					func() error { return wire.ReceiveClient(r.Client, wire.NewStream(r.ID, wire.LaneDown), *bytes) })
				continue
			}
			flows = append(flows,
				func() error {
					return wire.SendClient(r.Client, wire.NewStream(r.ID, wire.LaneUp), *bytes, *message)
				},
				func() error { return wire.ReceiveTCP(r.Target, wire.NewStream(r.ID, wire.LaneUp), *bytes) })
			go func() { // answers pings, hears grants, and notices if the relay ends
				if _, err := r.Client.Receive(make([]byte, 1)); !over.Load() {
					b.Fail(fmt.Errorf("a relay ended, or brought something while data went up only: %v", err))
				}
			}()
		}
		err = b.flows(flows, float64(*conns)*float64(*bytes))
		over.Store(true)
		b.report.Note("%d relays moved %v each %s, all verified", *conns, (*byteCount)(bytes), *dir)
		return err
	}
}

func tunnelTCP(fs *flag.FlagSet) func(*bench) error {
	conns := fs.Int("conns", 4, "how many raw connections")
	bytes := size(fs, "bytes", 128<<20, "`bytes` that each moves")
	dir := direction(fs, "tunnel's client to outside peer", "outside peer to tunnel's client")
	message := size(fs, "msg", 32<<10, "`size` of the data in the messages of the tunnel's client")
	credit := fs.Bool("credit", false, "register with flow=credit")
	return func(b *bench) error {
		up, err := isUp(*dir)
		if err != nil {
			return err
		}
		if *conns < 1 || *bytes < 1 || *message < 1 || *message > 63<<10 {
			return errors.New("-conns, -bytes and -msg must be at least 1, and -msg at most 63KiB")
		}
		t, err := b.OpenTunnel(0, wire.TunnelOptions{Message: *message, Credit: *credit})
		if err != nil {
			return err
		}
		raws := make([]*wire.Raw, *conns)
		err = b.Parallel(*conns, wire.OpenLimit, func(i int) (err error) {
			raws[i], err = t.OpenRaw(i)
			return err
		})
		if err != nil {
			return err
		}
		var flows []func() error
		for _, r := range raws {
			if !up {
				flows = append(flows,
					func() error {
						return r.Client.SendStream(wire.NewStream(r.ID, wire.LaneDown), *bytes, *message)
					},
					func() error { return wire.ReceiveTCP(r.Peer, wire.NewStream(r.ID, wire.LaneDown), *bytes) })
				continue
			}
			received, err := r.Client.Expect(wire.NewStream(r.ID, wire.LaneUp), *bytes)
			if err != nil {
				return err
			}
			flows = append(flows, received,
				func() error { return wire.SendTCP(r.Peer, wire.NewStream(r.ID, wire.LaneUp), *bytes) })
		}
		b.report.Note("%d raw connections moved %v each %s, all verified", *conns, (*byteCount)(bytes), *dir)
		return b.flows(flows, float64(*conns)*float64(*bytes))
	}
}
