package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
)

// fileScheme is that of a key set on disk.
const fileScheme = "file"

// ValidateJWKSURL says whether raw can be the address of a key set: https, http to
// this machine itself (localhost, 127.0.0.0/8, ::1), for whoever can change the
// keys on their way can sign any token, or file with an absolute path. Whether there
// is such a file is not looked at. The error says what is
// expected and doesn't repeat raw, which may hold a password.
func ValidateJWKSURL(raw string) error {
	_, err := parseJWKSURL(raw)
	return err
}

func parseJWKSURL(raw string) (*url.URL, error) {
	parsed, err := url.Parse(raw)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return nil, fmt.Errorf("not a URL (%w); expected https://host/path", err)
	}
	if parsed.Scheme == fileScheme {
		_, err := localPath(parsed, runtime.GOOS == "windows")
		return parsed, err
	}
	if parsed.Hostname() == "" {
		return nil, errors.New("a URL without a host; expected https://host/path")
	}
	if port := parsed.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return nil, errors.New("the port must be between 1 and 65535")
		}
	}
	switch {
	case parsed.Scheme == "https":
	case parsed.Scheme == "http" && isLoopback(parsed.Hostname()):
	case parsed.Scheme == "http":
		return nil, errors.New("http is accepted for a loopback host only (localhost, 127.0.0.1, [::1]); use https")
	default:
		return nil, errors.New("the scheme must be https, http for a loopback host, or file")
	}
	return parsed, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// loggable is the address without what may be secret: user, password, query.
func loggable(address *url.URL) string {
	return (&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}).String()
}
