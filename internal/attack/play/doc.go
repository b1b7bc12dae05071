// Package play is the attacker: the attacks, and what they are made of.
//
// The command attack runs one of them at a time, as a process of its own that
// gives way to all others. It judges nothing: it says what it did, and of the
// server it knows only the contract.
package play
