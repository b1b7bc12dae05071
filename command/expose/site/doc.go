// Package site serves a folder as a service of its own, over connections in memory:
// to package tap it is one like any other. It is called by package expose.
package site
