// Package renewer judges the tokens that a client sends within a session, so that it
// doesn't end with the one that it was opened with (END_WITH_TOKEN).
//
// The edge makes a Renewer for each session, and relay and tunnel give it what comes. It
// knows messages, and how pumps are started; who judges is handed over.
package renewer
