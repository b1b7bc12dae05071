// Package limits is the actor that knows who holds how much of which limit. The
// server starts the one there is. Sessions and handlers ask it by messages, and have
// it watch them: what a holder has comes back when it ends, for whatever reason.
//
// It keeps the book, of which package ledger is the arithmetic. It knows package
// messages, and how actors are run.
package limits
