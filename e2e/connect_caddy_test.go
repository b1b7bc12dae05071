package e2e

import (
	"net"
	"strings"
	"testing"
)

// Through a front proxy that speaks TLS with a certificate of its own: with its
// authority it works, without it nothing is sent, and --insecure says what it does.
func TestConnectThroughCaddy(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32")
	address, authority := caddyTLS(t, s.addr)
	_, port, _ := net.SplitHostPort(address)
	_, far, _ := net.SplitHostPort(echoServer(t).String())
	url := "wss://localhost:" + port
	const word = "through TLS\n"
	for _, test := range []struct {
		flags []string
		works bool
		says  string
	}{
		{[]string{"--ca", authority}, true, ""},
		{nil, false, "certificate"},
		{[]string{"--insecure"}, true, "nobody is checked"},
	} {
		cmd := connectCommand(t, append(test.flags, url, "127.0.0.1", far)...)
		cmd.Stdin = strings.NewReader(word)
		said := &output{}
		cmd.Stderr = said
		out, err := cmd.Output()
		if works := err == nil && string(out) == word; works != test.works || !strings.Contains(said.String(), test.says) {
			t.Errorf("connect %v: %q, %v, it says %q, which should have %q", test.flags, out, err, said, test.says)
		}
	}
}
