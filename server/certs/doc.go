// Package certs has the certificates of the server's own TLS: those of files, which are
// read again when they change, and those that an ACME authority such as Let's Encrypt
// issues, for names that the operator lists and for tunnels that there are.
//
// Package server calls it. It knows nothing of the project: whether there is a tunnel it
// is told by a function.
package certs
