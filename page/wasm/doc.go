//go:build js

// Command wasm gives JavaScript the SSH client and the file transfers of sshclient and
// sftpclient. It runs in a worker, and holds bindings and nothing else.
//
// When it has started, it calls globalThis.goReady(api) once. The interface of api is that of
// bridge.ts in page/web/src/worker; the files here are named after its parts.
//
// Every function that takes time returns a Promise. Errors are Error objects with a code and a
// message for people. api.pending is a Set of the functions that reject what is under way: should the
// program end, which it never does by itself, whoever runs it calls them all.
package main
