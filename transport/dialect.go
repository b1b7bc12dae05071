package transport

// A dialect is how a tunnel's client wants messages to be framed (protocol,
// section 4.1). What a client sends is understood either way.
type dialect uint8

const (
	dialectText   dialect = iota // JSON in text messages
	dialectBinary                // JSON in binary messages, for clients that read only those
	dialectGossh                 // binary, and what else gossh-wasm needs: see gossh
)

// dialects are the values of control= and TUNNEL_CONTROL_FRAMES.
var dialects = map[string]dialect{
	"text":   dialectText,
	"binary": dialectBinary,
	"gossh":  dialectGossh,
}

// opcode returns what a control message is framed as.
func (d dialect) opcode() byte {
	if d == dialectText {
		return opText
	}
	return opBinary
}
