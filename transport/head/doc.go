// Package head bounds the head of an HTTP/1.1 answer while it comes.
//
// Whoever reads an answer with net/http or gorilla from somebody who means it
// ill has those build a map of all header fields first. A few bytes of a field
// become a hundred there. A [Counter] sees the same bytes before they do, and
// says when there are too many. Package relay calls it; it knows nothing of
// that.
package head
