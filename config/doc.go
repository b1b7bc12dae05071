// Package config reads the configuration: the environment, and a file of more of it.
//
// One table, in variables.go, has all that there is to know about each
// variable: loading, --help and the error messages come from it, and tests
// hold the documents and compose.yaml to it, whose lines they write with -update.
//
// main calls [ReadEnvironment], [Load] and [WriteHelp]; the server gets the [Config],
// and calls [Reload] when it is told to. The package may know of the project only auth
// and netpolicy, whose parsers it calls. It reads no environment by itself, opens
// nothing but CONFIG_FILE and logs nothing: what is wrong is an error, and what is odd
// is a field that the server warns of.
package config
