package resume

import (
	"encoding/binary"
	"strings"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A fuzzPlan says, byte by byte, what a client sends. Behind its end are zeros.
type fuzzPlan []byte

func (p *fuzzPlan) next() int {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return int(b)
}

// pick picks one of several.
func pick[T any](p *fuzzPlan, all ...T) T { return all[p.next()%len(all)] }

// stream makes what is sent on one WebSocket, by a client that knows what was accepted.
func (p *fuzzPlan) stream(n *naive, tunnel bool) (stream []byte) {
	position := n.position
	message := func(size int) []byte {
		data := make([]byte, size)
		for i := range data {
			data[i] = 'a' + byte((position+uint64(i))%23)
		}
		if position++; !tunnel {
			position += uint64(size) - 1
		}
		return binary.BigEndian.AppendUint64(data, position)
	}
	add := func(first byte, payload []byte) { stream = append(stream, testkit.Frame(first, payload)...) }
	name := messages.UnitBytes
	if tunnel {
		name = messages.UnitMessages
	}
	for len(*p) > 0 {
		switch p.next() % 16 {
		case 0, 1, 2:
			add(frameBin, message(pick(p, 1, 0, 5, 100, 16<<10, 32<<10-8, 40<<10, replay.MaxPayload)))
		case 3, 4: // in parts
			whole := message(pick(p, 1, 0, 90, 20<<10, 32<<10, 40<<10, replay.MaxPayload))
			at := min(p.next()*p.next(), len(whole))
			add(framePart, whole[:at])
			if p.next()%2 == 0 {
				add(pick[byte](p, 0x89, 0x8a), []byte("ping"))
			}
			add(frameLast, whole[at:])
		case 5:
			for range 70 {
				add(frameBin, message(1))
			}
		case 6: // a wrong position
			whole := message(p.next())
			whole[len(whole)-1-p.next()%8] ^= byte(p.next())
			add(frameBin, whole)
		case 7:
			to := pick(p, 0, 1, n.sent, n.sent+1, messages.MaxPosition)
			add(frameText, messages.AppendAck(nil, name, to, pick(p, 0, to, 1<<20, messages.MaxPosition)))
		case 8:
			add(frameText, []byte(pick(p, messages.PingText, messages.PongText)))
		case 9:
			add(pick[byte](p, frameText, frameBin), []byte(messages.EOFText))
		case 10:
			text := pick(p, `{"type":"hello"}`, `{"type":"ack","bytes":-1,"limit":0}`, `{"type":"ack"`, `[]`, "", "\xff", `{"type":"session"}`,
				`{"type":"tcp_close","connId":"x"}`, `{"type":"x","y":"`+strings.Repeat("z", 60<<10)+`"}`, `"`+strings.Repeat("z", 64<<10)+`"`)
			if add(pick[byte](p, frameText, frameBin), []byte(text)); tunnel {
				position++
			}
		case 11:
			n := min(p.next(), len(*p))
			stream = append(stream, (*p)[:n]...)
			*p = (*p)[n:]
		case 12:
			add(frameClose, testkit.ClosePayload(pick(p, 1000, 1001, 1012, 4000, 3000, 1011, 1005, 0), pick(p, "", "bye", "\xff")))
		case 13:
			add(frameBin, message(replay.MaxPayload+1+p.next()))
		case 14: // cut, and on the next one
			return stream[:len(stream)-min(p.next()*p.next(), len(stream))]
		case 15:
			stream = append(stream, testkit.ServerFrame(frameBin, message(3))...)
		}
	}
	return stream
}
