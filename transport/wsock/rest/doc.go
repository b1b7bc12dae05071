// Package rest keeps TCP connections that nobody waits for in a goroutine: a reader for
// which nothing has come for a while ends, and is started again when something comes.
// What is parked costs a stack; what is at rest costs an entry in a table.
//
// A [Conn] is a connection that may be at rest. All that are share one epoll set, which
// is there, with a goroutine, as long as it has any. Only Linux has it: elsewhere
// nothing rests.
//
// Package wsock and the rooms that have TCP connections of their own call it. It knows
// nothing of the project.
package rest
