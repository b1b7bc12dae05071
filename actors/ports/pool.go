package ports

// A pool is the order in which ports are lent: the one that came back
// longest ago goes first, so that who still knows an old address of a tunnel
// meets nobody else there for as long as possible.
type pool struct {
	free []uint16          // in the order in which they will be lent
	held map[string]uint16 // by holder
}

func newPool(first, last uint16) *pool {
	p := &pool{held: make(map[string]uint16)}
	for port := int(first); port <= int(last); port++ {
		p.free = append(p.free, uint16(port))
	}
	return p
}

// take lends the next port, or returns 0 if none is free. busy is the one that
// the holder has got and can't use; it goes to the end. A holder has one port.
func (p *pool) take(holder string, busy uint16) (port uint16, first bool) {
	held, again := p.held[holder]
	if again && held != busy {
		return held, false
	}
	if again {
		delete(p.held, holder)
	}
	if len(p.free) > 0 {
		port = p.free[0]
		p.free = p.free[1:]
		p.held[holder] = port
	}
	if again {
		p.free = append(p.free, held)
	}
	return port, !again && port != 0
}

func (p *pool) end(holder string) {
	if port, ok := p.held[holder]; ok {
		delete(p.held, holder)
		p.free = append(p.free, port)
	}
}
