// Package metrics counts what happens, for Prometheus: sessions, and how long they
// are without a WebSocket, requests that were refused, raw connections, fetches of
// keys.
//
// The server makes one [Metrics] and hands it to the actors and to the edge,
// which call it by interfaces of their own; it serves /metrics on a listener of
// its own. What is known elsewhere comes as a function that is asked when
// somebody looks.
//
// The package may know of the project only messages, whose reasons are labels.
// A label is a word of a small closed set, never anything that came from
// outside: a stranger must not be able to make series.
package metrics
