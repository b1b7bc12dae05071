package e2e

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Section 7: where relays may lead, over the wire.

func TestBlockedAndAllowedTargets(t *testing.T) {
	t.Parallel()
	port := portOf(echoServer(t))
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	near := strconv.Itoa(number - 1)
	for _, c := range []struct {
		name string
		env  []string
		want map[string]int // status for each host
	}{
		{"default", nil, map[string]int{"127.0.0.1": 403, "127.0.0.2": 403, "::1": 403, "localhost": 403, "10.0.0.1": 403}},
		{"none", []string{"BLOCKED_TARGETS=none"}, map[string]int{"127.0.0.1": 101, "127.0.0.2": 101, "localhost": 101, "::ffff:127.0.0.1": 101}},
		{"a list stands beside the default", []string{"BLOCKED_TARGETS=8.8.8.8/24,"},
			map[string]int{"8.8.8.9": 403, "::ffff:8.8.8.9": 403, "127.0.0.1": 403, "10.0.0.1": 403, "::1": 403, "localhost": 403}},
		{"exemption from the default", []string{"ALLOWED_TARGETS=127.0.0.1/32"},
			map[string]int{"127.0.0.1": 101, "::ffff:127.0.0.1": 101, "127.0.0.2": 403, "::1": 403, "64:ff9b::127.0.0.1": 403, "2002:7f00:1::": 403}},
		{"exemption from a list", []string{"BLOCKED_TARGETS=127.0.0.0/8", "ALLOWED_TARGETS=127.0.0.2/32,127.0.0.3/32"},
			map[string]int{"127.0.0.1": 403, "127.0.0.2": 101, "127.0.0.3": 101, "127.0.0.4": 403, "10.0.0.1": 403}},
		{"port in the list", []string{"BLOCKED_TARGETS=none", "ALLOWED_PORTS=22," + port}, map[string]int{"127.0.0.1": 101}},
		{"port in a range", []string{"BLOCKED_TARGETS=none", "ALLOWED_PORTS=1," + near + "-65535"}, map[string]int{"127.0.0.1": 101}},
		{"port not in the list", []string{"BLOCKED_TARGETS=none", "ALLOWED_PORTS=1-" + near}, map[string]int{"127.0.0.1": 403, "localhost": 403}},
		{"port not in the list, though the target is exempt", []string{"ALLOWED_TARGETS=127.0.0.1/32", "ALLOWED_PORTS=22"}, map[string]int{"127.0.0.1": 403}},
		{"port in the list, target blocked", []string{"ALLOWED_PORTS=" + port}, map[string]int{"127.0.0.1": 403}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, append(c.env, "MAX_CONNS_PER_IP=0")...)
			for host, want := range c.want {
				if r := ask(t, s, "GET", relayPathTo(host, port), handshake...); r.status != want {
					t.Errorf("%s: status %d (%s), want %d", host, r.status, strings.TrimSpace(r.body), want)
				}
			}
		})
	}
}

// The proxy never dials itself, whatever the lists say.
func TestOwnPortsAreRefused(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.0.0.1", "127.0.0.2", "127.255.255.254", "localhost", "::1", "[::1]", "::ffff:127.0.0.1", "::ffff:127.0.0.2", "0.0.0.0", "::", "::ffff:0.0.0.0"}
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			hosts = append(hosts, prefix.Addr().String())
			if prefix.Addr().Is4() {
				hosts = append(hosts, "::ffff:"+prefix.Addr().String())
			}
		}
	}
	for name, env := range map[string][]string{
		"nothing blocked":    {allowLoopback()},
		"everything allowed": {"ALLOWED_TARGETS=0.0.0.0/0,::/0"},
		"all interfaces":     {allowLoopback(), "BIND="},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, append(env, "METRICS_ADDR=127.0.0.1:0", "MAX_CONNS_PER_IP=0")...)
			_, http, _ := net.SplitHostPort(s.addr)
			_, metrics, _ := net.SplitHostPort(s.metricsAddr(t))
			for _, port := range []string{http, metrics} {
				for _, host := range hosts {
					if r := ask(t, s, "GET", relayPathTo(host, port), handshake...); r.status != 403 {
						t.Errorf("%s port %s: status %d, want 403", host, port, r.status)
					}
				}
			}
			// It is the port that is refused, not the address.
			if r := ask(t, s, "GET", relayPath(echoServer(t)), handshake...); r.status != 101 {
				t.Errorf("another port: status %d, want 101", r.status)
			}
		})
	}
}

// metricsAddr is the address of the second listener.
func (s *server) metricsAddr(t *testing.T) string {
	t.Helper()
	address, _ := s.waitLog(t, "metrics are served")["address"].(string)
	return address
}

// forbiddenSpellings reads netpolicy's list: what stands after "host=", and
// the status that it gets.
func forbiddenSpellings(t *testing.T) map[string]int {
	t.Helper()
	file, err := os.Open("../netpolicy/testdata/forbidden_targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	list := map[string]int{}
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line := scanner.Text()
		columns := strings.Split(line, "\t")
		if line == "" || line == "#" || strings.HasPrefix(line, "# ") {
			continue
		}
		status, err := strconv.Atoi(columns[1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list[columns[0]] = status
	}
	if err := scanner.Err(); err != nil || len(list) < 80 {
		t.Fatalf("%d spellings were read (%v)", len(list), err)
	}
	return list
}

// A canary listens where no relay may lead, and counts who comes.
func newCanary(t *testing.T) (port string, visits *atomic.Int32) {
	t.Helper()
	visits = new(atomic.Int32)
	canary := target(t, func(*net.TCPConn) { visits.Add(1) })
	return portOf(canary), visits
}
