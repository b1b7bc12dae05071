// Package inspect is what is said when somebody looks at the sessions of a running
// server, and ends one: the messages between the admin endpoints and the actors, and the
// JSON that `wsproxy top` reads.
//
// Package server/admin asks the owners of sessions, which have each session answer by
// itself into one channel that has room for all: nobody waits for anybody, and no table
// is shared. Beside actors and server/admin only command/top knows it. It knows messages,
// and nothing of what it describes.
package inspect
