// Package cli is what all commands of the command line have in common: how one is
// declared, how its arguments are read, its page of help, what its errors become,
// and whether a terminal shows colours.
//
// A [Command] is a value in a room of its own below command; the table there lists
// all. Flags are read by pflag, in the notation of GNU. The package knows no
// command, and nothing else of the project.
package cli
