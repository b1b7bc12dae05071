package sendqueue

import (
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// DataRoom is how many bytes a data frame needs before its payload: the header of a
// WebSocket frame and that of the tunnel's protocol.
const DataRoom = wsock.ServerHeader + messages.DataHeader

// A Frame is a whole WebSocket frame that waits for the writer. The zero Frame is none.
type Frame struct {
	head   [wsock.MaxHeader]byte // what goes before bytes
	headed uint8                 // how much of head does
	bytes  []byte
	buf    *wsock.Buffer // goes back to the pool when the frame is written or dropped; may be nil
	data   bool          // whether it is one of the streamDepth
	gone   func()        // called when it is written or dropped; may be nil

	interactive bool // whether somebody waits for it

	request string // the id of the http_request that it is, or ""
	charged int64  // bytes of the tunnel's memory, which come back when it is written or dropped
}

// Control returns the frame of a control message, which is the frame's from then on.
// gone is called when it is written or dropped; it may be nil.
func Control(opcode byte, message []byte, gone func()) Frame {
	f := Frame{bytes: message, gone: gone}
	f.headed = uint8(len(wsock.AppendHeader(f.head[:0], opcode, len(message))))
	return f
}

// Request is Control for an http_request with this id, which is charged with so many
// bytes. Somebody waits for its answer.
func Request(opcode byte, message []byte, id string, charged int64, gone func()) Frame {
	f := Control(opcode, message, gone)
	f.request, f.charged, f.interactive = id, charged, true
	return f
}

// Data returns the data frame of the n bytes at buf[from:], where from is at least
// DataRoom: what stands before them is overwritten. The buffer is the frame's from then
// on. It is charged with the whole of it.
func Data(buf *wsock.Buffer, id string, from, n int) Frame {
	before := from - DataRoom
	messages.PutDataHeader(buf[before+wsock.ServerHeader:], id)
	start := before + wsock.PutHeader(buf[before:], wsock.OpBinary, messages.DataHeader+n)
	return Frame{bytes: buf[start : from+n], buf: buf, charged: wsock.BufferSize, data: true}
}

// Append appends the frames' bytes to bufs. They are the frames' still.
func Append(bufs [][]byte, frames []Frame) [][]byte {
	for i := range frames {
		f := &frames[i]
		if f.headed > 0 {
			bufs = append(bufs, f.head[:f.headed])
		}
		bufs = append(bufs, f.bytes)
	}
	return bufs
}

// Total returns how many bytes frames have, and whether somebody waits for one of them: a request,
// or words of a dialogue.
func Total(frames []Frame) (size int, interactive bool) {
	for i := range frames {
		size += int(frames[i].headed) + len(frames[i].bytes)
		interactive = interactive || frames[i].interactive
	}
	return size, interactive
}

// Unframe returns the message of a frame that was not coalesced, whether it is a control
// message, and the buffer that it is in, which is the caller's from then on; nil if it
// has none.
func (f *Frame) Unframe() (message []byte, control bool, buf *wsock.Buffer) {
	if !f.data {
		return f.bytes, true, nil
	}
	buf, f.buf = f.buf, nil
	return f.message(), false, buf
}

// message returns what a data frame carries.
func (f *Frame) message() []byte {
	if f.bytes[1] > 125 {
		return f.bytes[wsock.ServerHeader:]
	}
	return f.bytes[2:]
}

// payload returns what a data frame carries for its connection.
func (f *Frame) payload() []byte { return f.message()[messages.DataHeader:] }
