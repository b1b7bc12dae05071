// Package knownhosts reads what is known of SSH servers, in the format of OpenSSH's
// known_hosts (sshd(8)): names, patterns, hashed names, authorities and revoked keys.
//
// sshclient asks it. It asks nobody and reads no file.
package knownhosts
