package relay

import "sync"

// maxEarly is how many bytes of a client may wait until its target is dialled,
// each message counted as [earlyMessage] more. It is the greeting of any
// protocol, and so little that the kernels at both ends hold it whole: passing
// it on never waits for the target to read.
const (
	maxEarly     = 16 << 10
	earlyMessage = 64
)

// An early is what a client has sent before its target is there. The reading
// pump adds, the dialling one opens.
type early struct {
	mu     sync.Mutex
	to     upstream     // under mu: nil until the target is there
	pieces []earlyPiece // under mu
	held   int          // under mu: bytes of pieces
}

type earlyPiece struct {
	data []byte
	end  bool // a message of the client's ends here
}

// add keeps a piece until the target is there. It returns the target if it is,
// and then has kept nothing; else it reports whether there was room.
func (e *early) add(data []byte, end bool) (to upstream, kept bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.to != nil {
		return e.to, false
	}
	if e.held+len(data)+earlyMessage > maxEarly {
		return nil, false
	}
	e.held += len(data) + earlyMessage
	e.pieces = append(e.pieces, earlyPiece{append([]byte(nil), data...), end})
	return nil, true
}

// open passes on what was kept, and returns how many bytes the target took. What
// comes after that goes to the target itself. A target that takes no more may
// still have sent bytes that the client is to get; its reader finds their end.
func (e *early) open(to upstream) (passed int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pieces := e.pieces
	e.to, e.pieces = to, nil
	for _, piece := range pieces {
		if err := to.write(piece.data, piece.end); err != nil {
			break
		}
		passed += int64(len(piece.data))
	}
	return passed
}
