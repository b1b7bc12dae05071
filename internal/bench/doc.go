// Command bench measures the server's binary from outside: speed, latency, memory and
// processor time, as ratios to a plain reference server of the same run. It is client
// and peer at once, so it knows what must arrive where, and verifies every byte.
//
//	bench table   all figures that have an aim: reference, before, now, aim
//	bench scale   20,000 idle relays and 2,000 tunnels in one process
//	bench soak    mixed load for an hour
//	bench load    one load on a server that runs
//	bench compare one load on two servers that run, by turns
//	bench reference   the reference server
//
// It knows the server by the contract alone. It talks to loopback addresses only, and
// needs Linux.
package main
