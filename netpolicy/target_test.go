package netpolicy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseTargetAccepts(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".")
	for _, tt := range []struct{ host, port, want string }{
		{"example.com", "22", "example.com:22"},
		{"EXAMPLE.Com.", "22", "example.com:22"},
		{"a", "1", "a:1"},
		{"db_1.internal", "65535", "db_1.internal:65535"},
		{"_dmarc.example.com", "80", "_dmarc.example.com:80"},
		{"xn--bcher-kva.example", "80", "xn--bcher-kva.example:80"},
		{"1e100.net", "443", "1e100.net:443"},
		{"127.0.0.1.nip.io", "443", "127.0.0.1.nip.io:443"},
		{"7.example", "443", "7.example:443"},
		{"0x7f.example", "443", "0x7f.example:443"},
		{label63 + ".example", "80", label63 + ".example:80"},
		{name253, "80", name253 + ":80"},
		{name253 + ".", "80", name253 + ":80"},
		{"192.0.2.1", "22", "192.0.2.1:22"},
		{"0.0.0.0", "22", "0.0.0.0:22"},
		{"255.255.255.255", "22", "255.255.255.255:22"},
		{"2001:DB8::0001", "22", "[2001:db8::1]:22"},
		{"[2001:db8:0:0:0:0:0:1]", "22", "[2001:db8::1]:22"},
		{"::ffff:192.0.2.1", "22", "192.0.2.1:22"},
		{"[::ffff:c000:201]", "22", "192.0.2.1:22"},
		{"::192.0.2.1", "22", "[::c000:201]:22"},
	} {
		got, err := ParseTarget(tt.host, tt.port)
		if err != nil {
			t.Errorf("ParseTarget(%q, %q): %v", tt.host, tt.port, err)
			continue
		}
		if got.String() != tt.want {
			t.Errorf("ParseTarget(%q, %q) = %s, want %s", tt.host, tt.port, got, tt.want)
		}
		if _, err := netip.ParseAddr(got.Host); got.Literal() != (err == nil) {
			t.Errorf("ParseTarget(%q, %q).Literal() = %v", tt.host, tt.port, got.Literal())
		}
		if again, err := ParseTarget(got.lookupName(), tt.port); err != nil || again != got {
			t.Errorf("ParseTarget(%q) doesn't come out as it went in: %v, %v", got.Host, again, err)
		}
	}
}

func TestParseTargetRefusesPorts(t *testing.T) {
	for _, port := range []string{
		"", "0", "00", "65536", "99999", "655360", "100000000000000000000", "+22", "-22", "022", "0x16", "0b1", "1_0",
		"22 ", " 22", "2 2", "22\n", "22\x00", "２２", "22.0", "2e1", "ssh", "http", "22,23", "22-23", ":22", "²²",
	} {
		_, err := ParseTarget("example.com", port)
		m, ok := errors.AsType[*MalformedError](err)
		if !ok || m.Field != "port" {
			t.Errorf("port %q: got %v, want a malformed port", port, err)
		}
	}
}

// What hosts are refused is in testdata/forbidden_targets.txt; here is what the
// client is told.
func TestMalformedErrorsSayWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ host, want string }{
		{"", "host is missing"},
		{"127.1", "host looks like an address but is none; write IPv4 as four decimal numbers without leading zeros"},
		{"fe80::1%eth0", "host must not have a zone"},
		{"[1.2.3.4]", "host must not have brackets around anything but an IPv6 address"},
		{"example.com:22", "host must not have a port in it; the port goes into a parameter of its own"},
		{"a b", "host has a space or control character in it"},
		{"bücher.example", "host has a character outside ASCII in it; write an international name in its xn-- form"},
		{"a..b", "host has an empty label in it, a dot too many"},
		{strings.Repeat("a", 64), "host has a label longer than 63 characters"},
		{strings.Repeat("a.", 127) + "b", "host is longer than the 253 characters that a name may have"},
		{strings.Repeat("a.", 126) + "bb", "host is longer than the 253 characters that a name may have"},
		{strings.Repeat("a", 1<<20), "host is longer than the 253 characters that a name may have"},
		{"a.-b", "host has a label that begins or ends with a hyphen"},
		{"a/b", "host may have only letters, digits, hyphens, underscores and dots in it"},
	} {
		_, err := ParseTarget(tt.host, "22")
		if err == nil || err.Error() != tt.want {
			t.Errorf("ParseTarget(%.40q): got %v, want %s", tt.host, err, tt.want)
		}
	}
}

func TestParseName(t *testing.T) {
	got, err := ParseName("SSH.Example.COM.")
	if err != nil || got != "ssh.example.com" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, name := range []string{"", ".", "127.0.0.1", "::1", "[::1]", "127.1", "example.com:443", "https://example.com", "example.com/", "a b", "user@example.com"} {
		_, err := ParseName(name)
		m, ok := errors.AsType[*MalformedError](err)
		if !ok || m.Field != "cf_domain" {
			t.Errorf("ParseName(%q): got %v, want a malformed cf_domain", name, err)
		}
	}
}
