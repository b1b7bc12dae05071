// Package recent remembers the ids that were used last: of connections that were
// unknown, and of what has ended. A tunnel's handler owns one of each. It has no
// actor, no clock and no lock, and knows no other package.
package recent
