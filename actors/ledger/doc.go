// Package ledger is the accounting of limits: who holds how much of which limit,
// and who waits for some of it. It has no actor, no clock and no lock; the
// limits actor owns the one Ledger there is and asks it for each message.
//
// Every change is one last step behind a judgement that changes nothing, so that
// a fault in between loses a request and no slot.
//
// It also knows which sessions wait for a WebSocket, and which of them gives its
// slots to a new one.
//
// Beside the limits it keeps what a session, a request or a raw connection takes of
// them, and whose requests have the slots of a tunnel.
//
// It knows package messages alone.
package ledger
