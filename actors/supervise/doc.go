// Package supervise is how the actors of this project are run: the actor system
// with a log that holds no values, the guard that makes a panic seen, the
// supervision strategies, and the goroutines that run busy mailboxes.
//
// Package actors spawns everything by it, and the server makes the one system.
// It knows the actor library, and of the project the messages whose senders may run
// who gets them.
package supervise
