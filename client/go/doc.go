// Package wsproxy is the client of a wsproxy server: with [Dial] a program opens TCP
// connections from the server's side of the network, where a browser, a firewall or
// a proxy lets nothing but a WebSocket through.
//
//	conn, err := wsproxy.Dial(ctx, wsproxy.DialOptions{
//		Server: wsproxy.Server{URL: "wss://proxy.example.com"},
//		Host:   "db.internal",
//		Port:   5432,
//	})
//
// What it returns is a net.Conn, with deadlines, and a [*Conn] beside that, with
// half-close. Name lookups and connections are the server's, and so is the decision
// about what may be reached.
//
// # Sessions
//
// WebSockets die: networks change, laptops sleep, front proxies reload. A server
// keeps what a connection is on its side for a while (15 minutes by default), and the
// client takes it up over another WebSocket. Not a byte is lost, doubled or reordered,
// and the program sees no more of it than a pause. [Server.OnDetached],
// [Server.OnRetry] and [Server.OnResumed] tell of it. A loss is noticed within five
// seconds while something is under way, the first try follows at once, and others
// after pauses of 100 ms to 5 s. What can't be taken up any more ends with
// [ErrSessionLost].
//
// A server that doesn't know such sessions, or a client with [Server.NoResume], has
// connections that end with their WebSocket. They can't be half-closed.
//
// # Ends
//
// Read returns io.EOF when the target has ended its sending side, behind its last
// byte, and nothing else means that. A connection that the target has reset, or that
// the server has ended for another reason, is a [*CloseError] with the server's own
// words. Write returns when its bytes are on their way; only [Conn.Shutdown] tells that
// the target was sent all of them.
//
// # Errors
//
// A server that refuses a connection answers with a status and a sentence, which are a
// [*RefusedError]. Errors support errors.Is and errors.As, and their text is a sentence
// that can be shown to people: it has no control characters of the server's, and no
// token.
//
// Any goroutine may call any function and method of the package.
package wsproxy
