// Package stalls finds the raw peer that holds up its tunnel: it takes nothing, and so much
// waits for it that the tunnel can't be read on. A tunnel's handler owns a Watch and tells it
// what waits; the package knows no streams and sends nothing but the Look that is due.
package stalls
