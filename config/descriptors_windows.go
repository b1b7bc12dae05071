package config

// descriptors returns what leaves the bound at its own most: Windows has no limit of
// descriptors.
func descriptors() uint64 { return descriptorShare * mostHTTPConns }
