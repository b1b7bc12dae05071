// Package target reads what a user wants to expose: a port, an address, a URL, a
// folder or a TCP service, with a name or without. It is called by package expose,
// and looks at no disk and no network.
package target
