package knownhosts

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A knownLine is a line of known_hosts, sshd(8).
type knownLine struct {
	marker string // "", "cert-authority" or "revoked"
	hosts  []string
	key    ssh.PublicKey
}

// A File is what is known of servers.
type File []knownLine

// Parse reads what can be read: a line that makes no sense, or whose kind of key is
// not known here, must not hide the others.
func Parse(text string) File {
	var known File
	for line := range strings.Lines(text) {
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || marker != "" && marker != "cert-authority" && marker != "revoked" {
			continue
		}
		known = append(known, knownLine{marker, hosts, key})
	}
	return known
}

// Name is how known_hosts calls a server.
func Name(host string, port int) string {
	host = strings.ToLower(host)
	if port == 22 {
		return host
	}
	return "[" + host + "]:" + strconv.Itoa(port)
}

// matches reports whether the line is about a name.
func (l *knownLine) matches(name string) bool {
	found := false
	for _, pattern := range l.hosts {
		if strings.HasPrefix(pattern, "|") {
			found = found || hashMatches(pattern, name)
			continue
		}
		negated, isNegated := strings.CutPrefix(pattern, "!")
		if wildcardMatches(strings.ToLower(negated), name) {
			if isNegated {
				return false
			}
			found = true
		}
	}
	return found
}

// hashMatches compares a name that was hashed by HashKnownHosts: |1|salt|HMAC-SHA1.
func hashMatches(pattern, name string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "1" {
		return false
	}
	salt, saltErr := base64.StdEncoding.DecodeString(parts[2])
	hash, hashErr := base64.StdEncoding.DecodeString(parts[3])
	if saltErr != nil || hashErr != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), hash)
}

// wildcardMatches matches * and ? as OpenSSH does. It takes no more than the product of the
// lengths, whatever the pattern.
func wildcardMatches(pattern, name string) bool {
	p, n, star, resume := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// about returns the lines of a kind that are about a server.
func (k File) about(marker, host string, port int) []knownLine {
	name := Name(host, port)
	var lines []knownLine
	for _, line := range k {
		if line.marker == marker && line.matches(name) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Keys are the keys by which a server is known.
func (k File) Keys(host string, port int) []ssh.PublicKey {
	var keys []ssh.PublicKey
	for _, line := range k.about("", host, port) {
		keys = append(keys, line.key)
	}
	return keys
}

// Has reports whether a server is known by the key.
func (k File) Has(host string, port int, key ssh.PublicKey) bool {
	return slices.ContainsFunc(k.about("", host, port), func(line knownLine) bool { return Equal(line.key, key) })
}

// Revoked reports whether one of the keys must not be trusted for a server.
func (k File) Revoked(host string, port int, keys ...ssh.PublicKey) bool {
	return slices.ContainsFunc(k.about("revoked", host, port), func(line knownLine) bool {
		return slices.ContainsFunc(keys, func(key ssh.PublicKey) bool { return Equal(line.key, key) })
	})
}

// IsAuthority reports whether the key signs certificates of a server.
func (k File) IsAuthority(host string, port int, key ssh.PublicKey) bool {
	return slices.ContainsFunc(k.about("cert-authority", host, port), func(line knownLine) bool { return Equal(line.key, key) })
}

// Equal reports whether two keys are the same.
func Equal(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// Algorithms are the kinds of host keys to ask for, best first. A server that has several
// must show the one by which it is known, so that kind comes first.
func (k File) Algorithms(host string, port int) []string {
	// The order is OpenSSH's.
	preferred := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	certificates := []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
	var known []string
	lines := k.about("", host, port)
	if len(lines) == 0 && port != 22 {
		lines = k.about("", host, 22)
	}
	for _, line := range lines {
		kind := line.key.Type()
		if kind == ssh.KeyAlgoRSA {
			known = append(known, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		known = append(known, kind)
	}
	rank := func(algorithm string) int {
		if slices.Contains(known, algorithm) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(preferred, func(a, b string) int { return rank(a) - rank(b) })
	if len(k.about("cert-authority", host, port)) > 0 {
		return append(certificates, preferred...)
	}
	return preferred
}

// Line is the line by which a server is known.
func Line(host string, port int, key ssh.PublicKey) string {
	return Name(host, port) + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
