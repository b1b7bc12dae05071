package config

import "strconv"

// A Setting is what one variable says, or what holds without it.
type Setting struct {
	Name string
	// Value is for people. It is what is set, without users and passwords, what holds
	// by default, or a word for it; of a secret only its length.
	Value string
	// Set is false for a default.
	Set bool
}

// Settings lists all variables in the order of --help, with what holds in the
// environment that c was loaded from.
func (c Config) Settings(environ []string) []Setting {
	env := environment(environ)
	settings := make([]Setting, len(variables))
	for i := range variables {
		v := &variables[i]
		text, set := env.lookup(v.name)
		value := v.defaultText()
		switch derived := c.derived(v.name); {
		case set && v.secret:
			value = v.shown(text)
		case set:
			value = redact(text)
		case derived != "":
			value = derived
		}
		settings[i] = Setting{Name: v.name, Value: value, Set: set}
	}
	return settings
}

// derived is the default of a variable that depends on others, "" for all else.
func (c Config) derived(name string) string {
	switch name {
	case "TUNNEL_PUBLIC_URL":
		return c.TunnelPublicURL
	case "TUNNEL_RAW_HOST":
		return c.TunnelRawHost
	case "TUNNEL_BUFFER":
		return formatSize(c.TunnelBuffer)
	case "MAX_HTTP_CONNS":
		return strconv.Itoa(c.MaxHTTPConns)
	}
	return ""
}
