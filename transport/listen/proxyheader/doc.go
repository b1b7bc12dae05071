// Package proxyheader reads the header of the PROXY protocol, in either version
// (haproxy's proxy-protocol.txt), with which a proxy in front tells whom it has the
// connection from.
//
// Package listen and a tunnel's raw port call it. It knows nothing of the project, and
// does not judge who may send a header.
package proxyheader
