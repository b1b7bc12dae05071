// Package command is the command line beside the server: wsproxy NAME. Its table
// lists the commands, each of which has a room of its own below this one.
//
// main calls [Run] when the first argument is a name of the table. Commands may use
// the client, the parsers of config and auth, and messages, but nothing of the
// server: they are what somebody runs elsewhere.
package command
