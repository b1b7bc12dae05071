//go:build !linux

package rest

const supported = false

type set struct{}

var resting set

func (*set) add(*Conn) (token uint64, ok bool) { return 0, false }

func (*set) remove(*Conn) {}

// Count returns how many connections are at rest.
func Count() int { return 0 }
