// Package testkit is what the tests of several rooms share: connected sockets, a
// WebSocket client of another make, waiting without sleeping, and stand-ins for
// actors. Only tests import it.
//
// It knows nothing of the project, so that every package can be tested with it.
package testkit
