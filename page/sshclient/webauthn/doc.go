// Package webauthn makes SSH signatures of what browsers sign with security keys, as OpenSSH
// reads them: its PROTOCOL.u2f.
//
// sshclient calls it. It talks to no browser.
package webauthn
