// Package tunnelrig is tunnels for the tests of rooms that stand on package
// tunnel: a Mux between a test's own actors and its own client, and a house of
// real actors. It is no part of testkit because package tunnel is tested with
// that.
package tunnelrig
