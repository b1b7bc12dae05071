package proxyheader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bounds of a header.
const (
	// MaxTime is how long it may take to come. A proxy sends it first of all.
	MaxTime = 5 * time.Second
	// maxText is the longest one of version 1, in bytes: fixed by its section 2.1.
	maxText = 107
	// MaxBinary is the longest one of version 2 that is taken, in bytes, with all that
	// a proxy may add: certificates' names and the like. Proxies send up to some hundred.
	MaxBinary = 4 << 10
)

// Of version 2, its section 2.2.
const (
	signature  = "\r\n\r\n\x00\r\nQUIT\n"
	fixed      = 16 // bytes that each header has: signature, command, family, length
	version2   = 2
	forItself  = 0 // LOCAL: the proxy's own connection
	forOther   = 1 // PROXY
	unknown    = 0x00
	overTCP4   = 0x11
	overTCP6   = 0x21
	overUnix   = 0x31
	addresses4 = 12 // bytes of both addresses and ports
	addresses6 = 36
)

// ErrEmpty is returned for a connection that ended before anything came: it was a check
// whether anybody listens.
var ErrEmpty = errors.New("the connection ended before anything came")

var (
	errNone      = errors.New("the connection does not begin with a header of the PROXY protocol")
	errCut       = errors.New("the connection ended within the header of the PROXY protocol")
	errTooLong   = errors.New("the header of the PROXY protocol is longer than is taken")
	errMalformed = errors.New("the header of the PROXY protocol is malformed")
)

// ReadFrom is Read for a connection, for MaxTime at most.
func ReadFrom(conn net.Conn) (source netip.AddrPort, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(MaxTime))
	source, err = Read(conn)
	_ = conn.SetReadDeadline(time.Time{})
	return source, err
}

// Read reads a header from the beginning of a connection, and not a byte behind it. It
// returns the address that the connection comes from, the zero AddrPort if the header
// names none: then it is the proxy's own. IPv4-mapped IPv6 is returned as IPv4.
//
// The error is a sentence, or what r has to say. A connection with one is of no use.
func Read(r io.Reader) (source netip.AddrPort, err error) {
	var buf [maxText]byte
	head := buf[:len(signature)]
	if n, err := io.ReadFull(r, head[:1]); n == 0 {
		if err == io.EOF {
			return netip.AddrPort{}, ErrEmpty
		}
		return netip.AddrPort{}, err
	}
	if head[0] != signature[0] && head[0] != 'P' { // what else it is may be short, and wait for an answer
		return netip.AddrPort{}, errNone
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return netip.AddrPort{}, ended(err)
	}
	switch {
	case string(head) == signature:
		return readBinary(r)
	case bytes.HasPrefix(head, []byte("PROXY ")):
		return readText(r, buf[:], len(head))
	}
	return netip.AddrPort{}, errNone
}

// ended says what it means that reading has failed.
func ended(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCut
	}
	return err
}

// readText reads the rest of a line of which n bytes are in buf. It reads byte by byte,
// for what follows is not its own.
func readText(r io.Reader, buf []byte, n int) (netip.AddrPort, error) {
	for {
		if line, whole := bytes.CutSuffix(buf[:n], []byte("\r\n")); whole {
			return parseText(string(line))
		}
		if n == len(buf) {
			return netip.AddrPort{}, errTooLong
		}
		if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
			return netip.AddrPort{}, ended(err)
		}
		n++
	}
}

// parseText reads the line of version 1, its section 2.1, without its end.
func parseText(line string) (netip.AddrPort, error) {
	rest, _ := strings.CutPrefix(line, "PROXY ")
	if kind, _, _ := strings.Cut(rest, " "); kind == "UNKNOWN" { // what follows is not to be looked at
		return netip.AddrPort{}, nil
	}
	words := strings.Split(rest, " ")
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return netip.AddrPort{}, errMalformed
	}
	from, err := parseAddress(words[0], words[1], words[3])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := parseAddress(words[0], words[2], words[4]); err != nil {
		return netip.AddrPort{}, err
	}
	return from, nil
}

func parseAddress(kind, address, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" || addr.Is4() != (kind == "TCP4") {
		return netip.AddrPort{}, errMalformed
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(n, 10) { // nor with a sign or zeros before it
		return netip.AddrPort{}, errMalformed
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// readBinary reads what follows the signature of version 2, its section 2.2.
func readBinary(r io.Reader) (netip.AddrPort, error) {
	var buf [fixed - len(signature) + addresses6]byte
	head := buf[:fixed-len(signature)]
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, ended(err)
	}
	version, command, family := head[0]>>4, head[0]&15, head[1]
	length := int(binary.BigEndian.Uint16(head[2:]))
	if version != version2 {
		return netip.AddrPort{}, fmt.Errorf("the PROXY protocol's version %d is not known", version)
	}
	if fixed+length > MaxBinary {
		return netip.AddrPort{}, errTooLong
	}
	body := buf[len(head):][:min(length, addresses6)]
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, ended(err)
	}
	// What a proxy adds behind the addresses is of no use here.
	if _, err := io.CopyN(io.Discard, r, int64(length-len(body))); err != nil {
		return netip.AddrPort{}, ended(err)
	}
	switch {
	case command == forItself:
		return netip.AddrPort{}, nil
	case command != forOther:
		return netip.AddrPort{}, errMalformed
	case family == unknown, family == overUnix: // the section has the peer be used then
		return netip.AddrPort{}, nil
	case family == overTCP4 && len(body) >= addresses4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), nil
	case family == overTCP6 && len(body) >= addresses6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	}
	return netip.AddrPort{}, errMalformed
}
