package netpolicy

import (
	"fmt"
	"strings"
	"testing"
)

func TestParsePrefixes(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":                        "[10.0.0.0/8]",
		" 10.0.0.0/8 ,\t192.168.0.0/16":     "[10.0.0.0/8 192.168.0.0/16]",
		"192.0.2.1":                         "[192.0.2.1/32]",
		"2001:DB8::1, fd00::/8":             "[2001:db8::1/128 fd00::/8]",
		"0.0.0.0/0,::/0":                    "[0.0.0.0/0 ::/0]",
		"::ffff:10.0.0.0/104":               "[10.0.0.0/8]",
		"::ffff:0:0/96":                     "[0.0.0.0/0]",
		"::ffff:192.0.2.1":                  "[192.0.2.1/32]",
		"::ffff:192.0.2.1/128":              "[192.0.2.1/32]",
		"::/80":                             "[::/80]",
		"10.0.0.0/8,10.0.0.0/8,10.1.0.0/16": "[10.0.0.0/8 10.0.0.0/8 10.1.0.0/16]",
		"10.0.0.0/8,":                       "[10.0.0.0/8]",
		",10.0.0.0/8, ,fd00::/8,,":          "[10.0.0.0/8 fd00::/8]",
		"10.1.2.3/8":                        "[10.0.0.0/8]",
		"fd00::1/8":                         "[fd00::/8]",
		"::ffff:10.0.0.1/104":               "[10.0.0.0/8]",
		"::ffff:0:0/80":                     "[::/80]",
	} {
		got, err := ParsePrefixes(in)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("ParsePrefixes(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
}

func TestParsePrefixesRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "the list names nothing",
		"  ":                  "the list names nothing",
		",":                   "the list names nothing",
		" , ,":                "the list names nothing",
		"10.0.0.0/33":         `"10.0.0.0/33" is not a range`,
		"10.0.0.0/-1":         "is not a range",
		"10.0.0.0/08":         "is not a range",
		"10.0.0.0/":           "is not a range",
		"10.0.0.0/255.0.0.0":  "is not a range",
		"10/8":                "is not a range",
		"010.0.0.0/8":         "is not a range",
		"localhost":           "neither an address nor a range",
		"none":                "neither an address nor a range",
		"none,10.0.0.0/8":     "neither an address nor a range",
		"10.0.0.0-10.0.0.9":   "neither an address nor a range",
		"10.0.0.0/8 fd00::/8": "is not a range",
		"fe80::1%eth0":        "has a zone",
		"fe80::%eth0/10":      "has a zone",
		"[fd00::]/8":          "is not a range",
	} {
		got, err := ParsePrefixes(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePrefixes(%q) = %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseBlocked(t *testing.T) {
	for _, tt := range []struct {
		in, want   string
		useDefault bool
		fails      bool
	}{
		{"", "[]", true, false},
		{"none", "[]", false, false},
		{" none ", "[]", false, false},
		{"none,", "[]", false, false},
		{"8.8.8.0/24", "[8.8.8.0/24]", true, false}, // beside the default
		{"8.8.8.8/24,,", "[8.8.8.0/24]", true, false},
		{"none, none", "[]", false, true},
		{"none,10.0.0.0/8", "[]", false, true},
		{" ", "[]", false, true},
		{",", "[]", false, true},
		{"None of them", "[]", false, true},
		{"10.0.0.0/8,none", "[]", false, true},
	} {
		got, useDefault, err := ParseBlocked(tt.in)
		if fmt.Sprint(got) != tt.want || useDefault != tt.useDefault || (err != nil) != tt.fails {
			t.Errorf("ParseBlocked(%q) = %v, %v, %v", tt.in, got, useDefault, err)
		}
	}
}

func TestParsePorts(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		has      []uint16
		hasNot   []uint16
	}{
		{"", "", []uint16{1, 22, 65535}, []uint16{0}},
		{"22", "22", []uint16{22}, []uint16{0, 21, 23}},
		{"22,2222,8000-8999", "22,2222,8000-8999", []uint16{22, 2222, 8000, 8500, 8999}, []uint16{0, 2221, 7999, 9000, 65535}},
		{" 8000 - 8999 , 22 ", "22,8000-8999", []uint16{22, 8000}, []uint16{23}},
		{"1-65535", "1-65535", []uint16{1, 65535}, []uint16{0}},
		{"65535,1", "1,65535", []uint16{1, 65535}, []uint16{0, 2, 65534}},
		{"20-30,25-40,41,50", "20-41,50", []uint16{20, 41, 50}, []uint16{19, 42, 49}},
		{"20-40,25-30,41-65535", "20-65535", []uint16{33, 65535}, []uint16{19}},
		{"22,22-22", "22", []uint16{22}, []uint16{23}},
		{",22, ,80,", "22,80", []uint16{22, 80}, []uint16{23}},
	} {
		s, err := ParsePorts(tt.in)
		if err != nil || s.String() != tt.want || s.Empty() != (tt.in == "") {
			t.Errorf("ParsePorts(%q) = %v, %v, want %s", tt.in, s, err, tt.want)
		}
		for _, p := range tt.has {
			if !s.Contains(p) {
				t.Errorf("%q lacks %d", tt.in, p)
			}
		}
		for _, p := range tt.hasNot {
			if s.Contains(p) {
				t.Errorf("%q has %d", tt.in, p)
			}
		}
	}
	for _, in := range []string{" ", ",", " , ,", "0", "65536", "+22", "022", "0-5", "5-", "-5", "5-4", "1-2-3", "ssh", "22;23", "22 23", "any"} {
		if s, err := ParsePorts(in); err == nil || !s.Empty() {
			t.Errorf("ParsePorts(%q) = %v, %v", in, s, err)
		}
	}
}
