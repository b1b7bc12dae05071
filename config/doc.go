// Package config reads the environment, which is the whole configuration.
//
// One table, in variables.go, has all that there is to know about each
// variable: loading, --help and the error messages come from it, and tests
// hold the documents and compose.yaml to it, whose lines they write with -update.
//
// main calls [Load] and [WriteHelp]; the server gets the [Config]. The package
// may know of the project only auth and netpolicy, whose parsers it calls. It
// reads no environment by itself, opens nothing and logs nothing: what is wrong
// is an error, and what is odd is a field of Config that the server warns of.
package config
