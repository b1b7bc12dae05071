// Package stricthttp reads requests of HTTP/1.1 as strictly as RFC 9112 allows: what
// it takes, every parser reads in the same way. Tests hold what reaches a service to
// it.
package stricthttp
