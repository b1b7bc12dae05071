// Package check has the command check: what a server would make of the environment,
// what of it is dangerous, and what has no effect though somebody may think so.
//
// It reads the environment by config.Load, as the server does, and judges by a list
// of rules, each of which sees the whole configuration and the machine. It asks
// nobody: of other machines, such as the endpoint of the keys, it says nothing.
package check
