// Package scale shows that a server's memory grows evenly with its sessions up to many
// thousands, that all of them stay alive, that a ping among them takes hardly longer
// than alone, and that thousands of clients whose connections break at once, as when a
// front proxy restarts, all get their sessions back soon.
package scale
