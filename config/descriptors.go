package config

// Connections of strangers leave most of the descriptors to sessions.
const (
	mostHTTPConns   = 4096
	descriptorShare = 3
)

// defaultHTTPConns is the default of MAX_HTTP_CONNS in a process that may have
// so many descriptors, at least 1: 0 would be no limit.
func defaultHTTPConns(descriptors uint64) int {
	return int(max(min(mostHTTPConns, descriptors/descriptorShare), 1))
}
