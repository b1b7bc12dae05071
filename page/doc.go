// Package page serves the web terminal: the page that page/web builds, which
// lies in the binary when it was built with the tag "page".
//
// [New] makes the handler that the server's edge asks for paths that are none of
// its own. Everything is compressed when the page is built, and nothing here
// does it again. Without the tag there is no page, and the handler says so.
//
// It knows nothing of the project: what the page must know of its server comes
// as [Options].
package page
