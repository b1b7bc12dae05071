// Package agent answers the programs of an SSH server that sign with the keys of a forwarded
// agent. They can list and use the keys, and nothing else: a server can neither add, nor remove,
// nor lock any.
//
// sshclient serves it. It knows keys by an interface.
package agent
