// Package rawtcp joins the raw connections of a tunnel to a TCP service, with a PROXY
// protocol header in front if it is wanted. It is called by package expose, and does
// not look at the bytes.
package rawtcp
