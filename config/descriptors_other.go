//go:build !unix

package config

// descriptors returns as many as the largest default takes: where there is no limit
// of them, that is the one.
func descriptors() uint64 { return descriptorShare * mostHTTPConns }
