// Package gossh is what only gossh-wasm needs, an SSH client that is a Go
// program in a web page (control=gossh). Nothing of it touches other clients.
// All numbers were measured with that client in a browser.
//
//   - It sends everything in binary messages of at most 4,096 bytes, the rest
//     of a longer one as the next message: see [reassembler].
//   - It knows a stream only when its own SSH channel is open, and drops without
//     a word what comes before; it has no message that says so: see
//     [Dialect.Announce].
//   - It takes a message above 64 KiB for several; and of a stream it queues 256
//     frames, whatever their size, and drops the stream beyond: see
//     [maxMessage] and [pace].
//   - Some HTTP requests it can't pass on as http_request: see [Dialect.AsBytes].
//   - It ignores tcp_close, and holds one of its 100 slots for a stream until
//     the service has ended and a write has failed: see [conn].
//
// A [Dialect] is one of package tunnel and one of package forward. The edge
// makes it; nobody else knows it.
package gossh
