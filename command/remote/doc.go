// Package remote is what the commands that are clients have in common: which server
// they talk to, who they say they are, and whom they trust.
//
// [Flags] declares the flags, and its Resolve makes a [Server] of them and of the
// environment, flags before variables. Commands make the options of the client of
// that. A token comes from a file, a command or a variable, for a command line can
// be seen by everybody on the machine; no error has one in it.
package remote
