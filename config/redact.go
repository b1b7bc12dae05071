package config

import "strings"

// redact takes users, passwords and queries out of a URL, or out of each of a list, which
// errors and --help would otherwise carry into logs. All else comes back as it
// is.
func redact(text string) string {
	parts := strings.Split(text, ",")
	for i, part := range parts {
		parts[i] = redactOne(part)
	}
	return strings.Join(parts, ",")
}

func redactOne(text string) string {
	text = withoutUser(text)
	if at := strings.IndexByte(text, '?'); at >= 0 && strings.Contains(text[:at], "://") {
		return text[:at+1] + "xxxxx"
	}
	return text
}

func withoutUser(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if found {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 && hasNoPort(rest[:end]) {
		// A password that should have been escaped.
		at = strings.LastIndexByte(rest, '@')
	}
	if at < 0 || !found && !strings.Contains(rest[:at], ":") {
		return text
	}
	return scheme + "xxxxx" + rest[at:]
}

// hasNoPort reports whether what stands behind the colon of an authority is not
// a number, and so may be the beginning of a password.
func hasNoPort(authority string) bool {
	_, port, found := strings.Cut(authority, ":")
	return found && strings.Trim(port, "0123456789") != ""
}
