// Package admin is what an operator sees and does of a running server by HTTP: its sessions,
// its settings, its profiles, and the end of a session.
//
// Package server mounts it at /debug/ on the listener of METRICS_ADDR, if there is an
// ADMIN_TOKEN. It knows the owners of sessions by their PIDs and the messages of
// messages/inspect, the settings as config shows them, and nothing of what sessions carry.
package admin
