// Package pkcs8 decrypts private keys as OpenSSL encrypts them: PKCS #8 with PBES2 (RFC 8018), by
// PBKDF2 and AES.
//
// sshclient calls it. What it reads may be anybody's file.
package pkcs8
