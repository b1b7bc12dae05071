// Package fields says which header and trailer fields pass between the outside and
// the service behind a tunnel, in both directions, and with which values.
//
// Package forward calls it, for HTTP as messages and as bytes. It knows packages
// messages, netpolicy and http1, and may not know tunnels.
package fields
