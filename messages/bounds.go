package messages

import "time"

// Bounds that more than one package must agree on.
const (
	// MaxServerMessage is the largest relay message, in bytes, that the
	// server sends: 64 KiB, fixed by the protocol.
	MaxServerMessage = 64 << 10

	// ConnShare is how many bytes may wait for one outside peer of a tunnel
	// before they count against the tunnel's byte budget: 1 MiB, fixed by the
	// protocol.
	ConnShare = 1 << 20

	// MaxAnswerFields is how many header fields an answer of a service may
	// have, and MaxAnswerHeader how many bytes their names and values together:
	// fixed by the protocol, section 12.
	MaxAnswerFields = 200
	MaxAnswerHeader = 64 << 10

	// Linger is how long a closing connection is kept after its peer's kernel
	// has acknowledged its last new byte: closed at once, the kernel here would
	// answer what the peer still sends with a reset, and the peer would lose
	// what it has not read yet. At a shutdown it is how long all closing takes.
	// 5 s is fixed by the protocol, section 8.
	Linger = 5 * time.Second
)
