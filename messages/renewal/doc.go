// Package renewal is what the two ends of a session say about the token that it was
// opened with, where a session ends with its token (END_WITH_TOKEN), and what the edge
// tells the session's actor of it.
//
// Edge and actors call it. It knows nothing of the project.
package renewal
