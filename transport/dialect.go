package transport

// A dialect is how a tunnel's client wants control messages to be framed
// (protocol, section 4.1). What a client sends is understood either way.
type dialect uint8

const (
	dialectText   dialect = iota // JSON in text messages
	dialectBinary                // JSON in binary messages, for clients that read only those
)

// dialects are the values of control= and TUNNEL_CONTROL_FRAMES.
var dialects = map[string]dialect{
	"text":   dialectText,
	"binary": dialectBinary,
	"gossh":  dialectBinary,
}

// opcode returns what a control message is framed as.
func (d dialect) opcode() byte {
	if d == dialectText {
		return opText
	}
	return opBinary
}
