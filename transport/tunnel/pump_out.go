package tunnel

import "wsproxy/messages"

// pumpOut writes what waits for the client, together what waits together.
func (m *Mux) pumpOut() messages.Reason {
	client := m.session.Conn()
	var batch []frame
	defer func() { m.dropAll(batch) }() // those in hand, should this fail
	var bufs [][]byte
	for {
		room := m.inFlight.Room()
		var more bool
		batch, more = m.queue.take(batch[:0], room)
		if len(batch) == 0 {
			switch {
			case !more:
				return messages.ReasonShutdown // the Mux is closing, for whatever reason
			case room == 0:
				m.inFlight.Await(m.queue.wake)
			default:
				<-m.queue.wake
			}
			continue
		}
		bufs = bufs[:0]
		size, interactive := 0, false
		for i := range batch {
			f := &batch[i]
			if f.headed > 0 {
				bufs = append(bufs, f.head[:f.headed])
			}
			bufs = append(bufs, f.bytes)
			size += int(f.headed) + len(f.bytes)
			interactive = interactive || f.interactive
		}
		err := client.Write(bufs...)
		m.inFlight.Wrote(size, interactive)
		clear(bufs)
		m.dropAll(batch)
		if err != nil {
			m.queue.clear()
			return client.Failure(err)
		}
		m.sent.Add(int64(size))
	}
}
