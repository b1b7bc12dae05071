// Package display writes what a user sees of tunnels: their addresses, a line for each
// request, notices, and in a terminal a line at the bottom with what goes on now. It
// is called by package expose.
//
// Connections tell it things and never wait for it: lines are put down, and written by
// one goroutine. What strangers have chosen is escaped.
package display
