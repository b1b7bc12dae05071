// Package top is wsproxy top: the sessions of a running server, live in a terminal or once as
// a table or JSON, and the end of one. It asks the server's admin endpoints.
//
// A client asks at an address, a table keeps what has come and computes rates of two samples,
// a view draws it (columns.go has which columns there is room for, frame.go the screen around
// the list), and live runs them by keys and ticks. What strangers have chosen reaches the terminal
// through package screen alone. It knows the server by the JSON of messages/inspect.
package top
