// Package server makes a running server of a configuration: it opens the
// listeners, starts the actors, joins them to the HTTP edge, and takes all of
// it down again in order.
//
// main calls [Run] and nothing else. The package may know every other one of
// the project but main; none may know it. It decides nothing about requests or
// sessions: what is allowed is said by config, judged by auth and netpolicy,
// owned by actors and carried by transport.
//
// It also paces the garbage collector, for only the whole process can.
package server
