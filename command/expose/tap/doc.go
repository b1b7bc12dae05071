// Package tap passes the bytes of HTTP connections between the proxy and a local
// service, and watches them go by.
//
// The bytes pass as they are, in both directions at once. An observer reads heads
// and framing of what passes, so that each request and its answer can be named,
// timed and counted ([Exchange]). What it makes of them never changes, delays or
// ends anything: when it can't follow any more it says so once and the bytes go on.
//
// The proxy is a strict HTTP/1.1 client on each connection: it sends the next
// request when it has the whole answer to the one before. The service may be
// anything.
//
// How a connection ends is told on: what was whole at one side ends in order at the
// other, what was cut ends in a reset. With a [Gate] a request waits until it was
// admitted, and there a connection that can't be followed ends: nothing reaches the
// service unseen.
//
// A reverse proxy of net/http is not used here, because it writes each message anew,
// with other header names, order and fields, and costs five times as much.
package tap
