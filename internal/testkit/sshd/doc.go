// Package sshd starts real OpenSSH servers for the tests of SSH clients. Only tests use it, and it
// knows nothing of the project.
package sshd
