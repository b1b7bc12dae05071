// Package sshclient is an SSH client over any net.Conn, made for a page that has a
// person in front of it: what must be asked is asked through [Hooks], and what fails
// is a sentence.
//
// It runs in a browser (GOOS=js) as well as natively. It opens no connection itself, reads
// no file, and knows nothing of the project: page/wasm binds it to JavaScript.
//
// [Connect] logs in, through jump hosts too. What it returns opens shells, dials from the
// server's side, and carries subsystems such as SFTP.
//
// All that a server sends to be shown is cleaned first (see [Printable]): it has no control
// characters, and a bounded length.
package sshclient
