// Package port is the listener of a tunnel's raw port. Package tunnel makes
// streams of what it accepts; this package does not know what those are.
package port
