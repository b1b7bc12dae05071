package sshclient

import (
	"net"
	"testing"
)

// A host's name becomes a line of known_hosts, in which some characters mean more: such a line would speak for other hosts.
func TestHostNamesAreNoPatterns(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"*", "a?", "!a", "a,github.com", "a github.com", "a\n@cert-authority", "|1|a|b", "@revoked", "#a", "a\x00", "[a"} {
		near, far := net.Pipe()
		far.Close()
		_, err := Connect(t.Context(), near, Options{User: "u", Host: host, Port: 22}, nil)
		expectCode(t, err, CodeFailed, "name")
	}
}
