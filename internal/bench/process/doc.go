// Package process starts what is measured: the server's binary, the reference server,
// and wsproxy expose, each on loopback and with limits that no load meets. It knows the
// binary by its environment and its log alone. What it has started ends with this
// process.
package process
