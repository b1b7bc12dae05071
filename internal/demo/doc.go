// Command demo is `make demo`: the server, and beside it a small SSH server on
// loopback, so that whoever has no sshd has a shell in the page by one command.
//
// The shell is the one of whoever runs it, with all that it may do. So nobody
// but this machine can reach it, the password is new each time, and with the
// command all of it ends. It is no SSH server to be used for anything else.
//
// It knows nothing of the project: the server is a binary to it.
package main
