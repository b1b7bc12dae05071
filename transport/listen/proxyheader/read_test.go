package proxyheader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// v2 is a header of version 2.
func v2(command, family byte, body ...byte) string {
	b := append([]byte(signature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

var (
	tcp4 = []byte{203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0, 80}
	tcp6 = append(append(netip.MustParseAddr("2001:db8::9").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x30, 0x39, 0, 80)
)

func TestRead(t *testing.T) {
	mapped := append(append(netip.MustParseAddr("::ffff:203.0.113.9").AsSlice(), make([]byte, 16)...), 0x30, 0x39, 0, 80)
	for header, want := range map[string]string{
		"PROXY TCP4 203.0.113.9 10.0.0.1 12345 80\r\n":                                  "203.0.113.9:12345",
		"PROXY TCP6 2001:db8::9 2001:db8::1 12345 0\r\n":                                "[2001:db8::9]:12345",
		"PROXY TCP6 ::ffff:203.0.113.9 ::1 12345 80\r\n":                                "203.0.113.9:12345",
		"PROXY UNKNOWN\r\n":                                                             "",
		"PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n":                             "", // the longest
		"PROXY UNKNOWN 1 2 3\r\n":                                                       "",
		v2(0x21, overTCP4, tcp4...):                                                     "203.0.113.9:12345",
		v2(0x21, overTCP4, append(tcp4, 1, 0, 1, 'x')...):                               "203.0.113.9:12345",
		v2(0x21, overTCP6, tcp6...):                                                     "[2001:db8::9]:12345",
		v2(0x21, overTCP6, append(tcp6, 1, 0, 1, 'x')...):                               "[2001:db8::9]:12345",
		v2(0x21, overTCP6, mapped...):                                                   "203.0.113.9:12345",
		v2(0x20, unknown):                                                               "",
		v2(0x20, overTCP4, tcp4...):                                                     "", // LOCAL says nothing
		v2(0x21, unknown, 1, 2, 3):                                                      "",
		v2(0x21, overUnix, make([]byte, 216)...):                                        "",
		v2(0x21, overTCP4, append(tcp4, make([]byte, MaxBinary-fixed-len(tcp4))...)...): "203.0.113.9:12345",
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		} {
			in := strings.NewReader(header + "GET / HTTP/1.1")
			got, err := Read(wrap(in))
			rest, _ := io.ReadAll(in)
			if err != nil || got.IsValid() && got.String() != want || got.IsValid() != (want != "") || string(rest) != "GET / HTTP/1.1" {
				t.Errorf("%.60q, %s: %v, %v, and %q is left; want %q", header, name, got, err, rest, want)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for header, want := range map[string]error{
		"":                                   ErrEmpty,
		"GET / HTTP/1.1\r\n":                 errNone,
		"EHLO\r\n":                           errNone, // short, and no end
		"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n": errNone,
		"\r\n\r\n\x00\r\nQUIS\n":             errNone,
		"PROXY":                              errCut,
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1":     errCut,
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n" + strings.Repeat("x", maxText): errTooLong,
		"PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n":               errTooLong,
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n":                             errMalformed,
		"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n":                             errMalformed,
		"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n":                                errMalformed,
		"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n":                             errMalformed,
		"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n":                             errMalformed,
		"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n":                          errMalformed,
		"PROXY TCP4 ::1 ::1 1 1\r\n":                                      errMalformed,
		"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n":                              errMalformed,
		"PROXY TCP6 fe80::1%a ::1 1 1\r\n":                                errMalformed,
		"PROXY TCP4 1.1.1.1 1.1.1.x 1 1\r\n":                              errMalformed,
		"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n":                              errMalformed,
		v2(0x22, overTCP4, tcp4...):                                       errMalformed,
		v2(0x21, 0x12, tcp4...):                                           errMalformed, // UDP
		v2(0x21, overTCP4, tcp4[:11]...):                                  errMalformed,
		v2(0x21, overTCP6, tcp4...):                                       errMalformed,
		v2(0x21, overTCP4, tcp4...)[:20]:                                  errCut,
		v2(0x21, overTCP4, tcp4...)[:14]:                                  errCut,
		v2(0x21, overTCP4, append(tcp4, 1, 2)...)[:fixed+13]:              errCut,
		v2(0x21, overTCP4, make([]byte, MaxBinary-fixed+1)...):            errTooLong,
	} {
		if got, err := Read(strings.NewReader(header)); !errors.Is(err, want) || got.IsValid() {
			t.Errorf("%.60q: %v, %v; want %v", header, got, err, want)
		}
	}
	if _, err := Read(strings.NewReader(v2(0x11, overTCP4, tcp4...))); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("of another version: %v", err)
	}
	if _, err := Read(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("PROXY UNKNOWN\r\n")))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a reader's own error: %v", err)
	}
}

// One that does not come, or not whole, is waited for, but not for ever.
func TestReadFromHasAnEnd(t *testing.T) {
	for _, begun := range []string{"", "PROXY TCP4 203", v2(0x21, overTCP4, tcp4...)[:20]} {
		synctest.Test(t, func(t *testing.T) {
			proxy, conn := net.Pipe()
			defer proxy.Close()
			go func() { _, _ = io.WriteString(proxy, begun) }()
			began := time.Now()
			if _, err := ReadFrom(conn); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != MaxTime {
				t.Errorf("%q: after %v: %v", begun, time.Since(began), err)
			}
		})
	}
}

// What comes behind the header has all the time that it needs.
func TestReadFromSetsNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, conn := net.Pipe()
		defer proxy.Close()
		go func() {
			_, _ = io.WriteString(proxy, "PROXY UNKNOWN\r\n")
			time.Sleep(2 * MaxTime)
			_, _ = io.WriteString(proxy, "x")
		}()
		if _, err := ReadFrom(conn); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Whatever comes: what is taken is bounded, and nothing behind the header is touched.
func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.9 10.0.0.1 12345 80\r\nGET /"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, overTCP4, tcp4...)))
	f.Add([]byte(v2(0x21, overTCP6, append(tcp6, 1, 0, 1, 'x')...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		source, err := Read(in)
		used := data[:len(data)-in.Len()]
		if len(used) > MaxBinary {
			t.Fatalf("%d bytes were read", len(used))
		}
		if err != nil {
			if source.IsValid() {
				t.Fatalf("%v with %v", source, err)
			}
			return
		}
		if source.Addr().Is4In6() || source.Addr().Zone() != "" {
			t.Fatalf("%v", source)
		}
		again, err := Read(iotest.OneByteReader(bytes.NewReader(used)))
		if err != nil || again != source {
			t.Fatalf("the header alone, byte by byte, is %v, %v; with what follows it is %v", again, err, source)
		}
		if text := string(used); strings.HasPrefix(text, "PROXY ") {
			if len(text) > maxText || strings.Count(text, "\r\n") != 1 || !strings.HasSuffix(text, "\r\n") {
				t.Fatalf("%q was taken for a header", text)
			}
		}
	})
}
