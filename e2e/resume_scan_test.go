package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// A cutScan knows where in a stream of frames a direction is.
type cutScan struct {
	c      *cutConn
	way    int
	rest   []byte // not passed on yet: less than a header
	frames bool   // the handshake is over
	tail   []byte // the last bytes of the handshake
	count  int    // frames that have begun
	body   uint64 // bytes that are missing of a frame's payload
	due    *cut   // that comes
	dueIn  uint64 // after so many bytes
}

// take returns what is to be passed on of all that came, and the cut if one is due
// behind it.
func (s *cutScan) take(p []byte) (pass []byte, due *cut) {
	if s.due != nil {
		if uint64(len(p)) >= s.dueIn {
			return p[:s.dueIn], s.due
		}
		s.dueIn -= uint64(len(p))
		return p, nil
	}
	p = append(s.rest, p...)
	s.rest = nil
	all, at := p, 0
	for at < len(all) {
		p := all[at:]
		if !s.frames {
			n, done := s.handshake(p)
			if cut := s.c.next.Load(); cut != nil && cut.way == s.way && cut.where == cutRequest && s.c.next.CompareAndSwap(cut, nil) {
				return all[:at+rand.IntN(n+1)], cut
			}
			at, s.frames = at+n, done
			continue
		}
		if s.body > 0 {
			n := min(s.body, uint64(len(p)))
			s.body -= n
			at += int(n)
			continue
		}
		header, size, ok := cutHeaderOf(p)
		if !ok {
			s.rest = slices.Clone(p)
			return all[:at], nil
		}
		if offset, cut := s.judge(p[0]&0xf, header, size); cut != nil {
			if offset <= uint64(len(p)) {
				return all[:at+int(offset)], cut
			}
			s.due, s.dueIn = cut, offset-uint64(len(p))
			return all, nil
		}
		s.count++
		at += header
		s.body = size
	}
	return all, nil
}

// handshake returns how much of p is the handshake's, and whether it is over.
func (s *cutScan) handshake(p []byte) (n int, done bool) {
	before := len(s.tail)
	joined := append(s.tail, p...)
	if i := bytes.Index(joined, []byte("\r\n\r\n")); i >= 0 {
		return i + 4 - before, true
	}
	s.tail = slices.Clone(joined[max(0, len(joined)-3):])
	return len(p), false
}

// cutHeaderOf returns the lengths of a frame's header and payload.
func cutHeaderOf(p []byte) (header int, size uint64, ok bool) {
	if len(p) < 2 {
		return 0, 0, false
	}
	header, size = 2, uint64(p[1]&0x7f)
	switch size {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	if len(p) < header {
		return 0, 0, false
	}
	switch header {
	case 4:
		size = uint64(binary.BigEndian.Uint16(p[2:]))
	case 10:
		size = binary.BigEndian.Uint64(p[2:])
	}
	if p[1]&0x80 != 0 {
		header += 4
	}
	return header, size, len(p) >= header
}

// judge returns how much of a frame passes, and the cut that comes then.
func (s *cutScan) judge(opcode byte, header int, size uint64) (offset uint64, due *cut) {
	cut := s.c.next.Load()
	if cut == nil || cut.way != s.way {
		return 0, nil
	}
	whole, isData := uint64(header)+size, opcode < opClose && size > 8
	switch {
	case cut.where == cutHeader:
		offset = 1 + rand.Uint64N(uint64(header)-1)
	case cut.where == cutPayload && isData:
		offset = uint64(header) + rand.Uint64N(size)
	case cut.where == cutTail && isData && opcode != opText:
		offset = whole - uint64(cut.kept)
	case cut.where == cutClosing && opcode == opClose, cut.where == cutFirst && s.count == 0:
		offset = rand.Uint64N(whole)
	default:
		return 0, nil
	}
	if !s.c.next.CompareAndSwap(cut, nil) {
		return 0, nil
	}
	return offset, cut
}

// A stream is cut where it is meant to be, and nowhere else.
func TestCutter(t *testing.T) {
	t.Parallel()
	head := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	text, body := frame(finBit|opText, []byte("{}")), frame(finBit|opBinary, make([]byte, 60_000))
	bye := frame(finBit|opClose, closePayload(1000, ""))
	stream := slices.Concat([]byte(head), text, body, bye)
	afterText, afterBody := len(head)+len(text), len(head)+len(text)+len(body)
	for _, c := range []struct {
		where       int
		least, most int // bytes that pass
	}{
		{cutRequest, 0, len(head)},
		{cutHeader, len(head) + 1, len(head) + 5},
		{cutPayload, afterText + 8, afterBody - 1},
		{cutTail, afterBody - 3, afterBody - 3},
		{cutClosing, afterBody, len(stream) - 1},
		{cutFirst, len(head), afterText - 1},
	} {
		for _, chunk := range []int{1, 1000, len(stream)} {
			addr, conns := handServer(t)
			p := newCutter(t, addr.String(), func(p *cutter) {
				p.late = patience
				p.plan = func() *cut { return &cut{way: toServer, where: c.where, how: cutFIN, kept: 3} }
			})
			near, err := net.Dial("tcp", p.l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer near.Close()
				for b := range slices.Chunk(stream, chunk) {
					if _, err := near.Write(b); err != nil {
						return
					}
				}
				_, _ = io.Copy(io.Discard, near)
			}()
			got, err := io.ReadAll(accept(t, conns))
			if err != nil || len(got) < c.least || len(got) > c.most || !bytes.HasPrefix(stream, got) {
				t.Errorf("cut %d by %d: %d bytes pass, not %d to %d: %v", c.where, chunk, len(got), c.least, c.most, err)
			}
		}
	}
}
