// Package wsproxy is the client of a wsproxy server.
package wsproxy
