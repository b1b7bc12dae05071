// Package neighbour is a well-behaved user of the server, who measures how it is
// served: relays, HTTP and raw TCP through tunnels of its own.
//
// The command attack runs it as a process of its own. It knows nothing of the
// attacks, and of the server only the contract.
package neighbour
