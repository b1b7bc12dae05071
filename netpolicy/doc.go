// Package netpolicy answers "where to and where from": which targets the proxy
// may reach, and who is asking.
//
// Where to: [ParseTarget] reads host and port, a [Policy] judges addresses,
// resolves names and dials what it judged. The way is always
//
//	ParseTarget  ->  Policy.Resolve  ->  Policy.Dial
//	400              403                 1008 or 1011
//
// and the name is looked up exactly once on it. What is dialled is an address
// that was judged, and it is judged again right before connect(2), so that
// neither a second DNS answer nor a listener that was opened in between can
// lead the proxy to a place it must not go.
//
// Where from: [Sources] finds the client's address behind trusted proxies,
// [CountKey] turns it into what limits count, [Origins] judges the Origin
// header of a browser.
//
// The edge asks, config parses lists by it, the server makes the [Policy]. The
// package may import messages alone of the project. All its types are safe for
// concurrent use and immutable after construction.
package netpolicy
