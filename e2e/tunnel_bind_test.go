package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tunnelListeners returns the addresses on which sockets listen at a port, in
// the kernel's hexadecimal.
func tunnelListeners(t *testing.T, s *server, port int) (addresses []string) {
	t.Helper()
	for _, table := range []string{"tcp", "tcp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", s.pid, table))
		if os.IsNotExist(err) { // a kernel without IPv6
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			const listen = "0A"
			columns := strings.Fields(lines.Text())
			if address, ok := strings.CutSuffix(columns[1], fmt.Sprintf(":%04X", port)); ok && columns[3] == listen {
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}

// A raw port listens on the address that TUNNEL_BIND names and on no other,
// also when its listener is a later tunnel's; on all of them when it is not set.
func TestTunnelBind(t *testing.T) {
	t.Parallel()
	const given, other = "127.0.0.2", "127.0.0.1"
	all := []string{strings.Repeat("0", 32)} // [::] with IPv4
	if probe, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		all = []string{strings.Repeat("0", 8)}
	} else {
		probe.Close()
	}
	for name, test := range map[string]struct {
		env    []string
		listen []string
		open   map[string]bool // by host, whether it can be reached
	}{
		"given":   {[]string{"TUNNEL_BIND=" + given}, []string{"0200007F"}, map[string]bool{given: true, other: false}},
		"not set": {nil, all, map[string]bool{given: true, other: true}},
	} {
		t.Run(name, func(t *testing.T) {
			first := tunnelPorts(t, 1)
			s := start(t, append(test.env, "TUNNEL_DOMAIN="+tunnelDomain,
				fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first))...)
			for range 2 {
				c := tunnelOpen(t, s, tunnelScript{raw: tunnelEcho})
				if c.port != first {
					t.Fatalf("the port is %d, not %d", c.port, first)
				}
				if got := tunnelListeners(t, s, c.port); !slices.Equal(got, test.listen) {
					t.Errorf("the kernel listens on %q, not %q", got, test.listen)
				}
				for host, reachable := range test.open {
					conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(c.port)), patience)
					if (err == nil) != reachable {
						t.Errorf("%s: %v", host, err)
					}
					if err != nil {
						continue
					}
					if _, err := tunnelPing(conn); err != nil {
						t.Errorf("%s: %v", host, err)
					}
					conn.Close()
				}
				c.bye(t)
				eventually(t, patience, "the port is closed", func() bool { return len(tunnelListeners(t, s, c.port)) == 0 })
				s.waitTunnelEnd(t, c)
			}
		})
	}
}
