// Package sftpclient is what a file manager does over SFTP: it lists, reads, writes, renames
// and removes, with transfers that are cut without harm and taken up again.
//
// It stands on any stream to an SFTP server, which sshclient opens, and knows nothing of the
// project. Its errors are of type *[Error], with sentences for a person.
//
// Names come from the server. Those that could lead out of their directory are not listed.
package sftpclient
