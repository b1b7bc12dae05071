package config

import "strings"

// environment is a list of NAME=value pairs as os.Environ has them.
type environment []string

// lookup returns what a variable is set to, without the blanks around it, which
// editors and quoting leave behind. It returns false when the variable is unset
// or empty: `NAME= wsproxy` and compose files with `${NAME:-}` mean "unset". Of
// a name that is there twice the first counts, as for os.LookupEnv.
func (e environment) lookup(name string) (string, bool) {
	for _, pair := range e {
		key, text, _ := strings.Cut(pair, "=")
		if key == name {
			text = strings.TrimSpace(text)
			return text, text != ""
		}
	}
	return "", false
}
