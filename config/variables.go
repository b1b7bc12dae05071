package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"wsproxy/auth"
	"wsproxy/netpolicy"
)

// variable is one variable of the environment: all that loading and --help
// need to know about it.
type variable struct {
	name string
	// fallback is the default as an operator would write it, and is read like
	// a value. "" leaves the field as it is.
	fallback string
	// unset says in words what "" means, for --help.
	unset string
	// help is one line.
	help string
	// secret says that the value is never shown.
	secret bool
	// reload says that a server that runs takes another value when it is told to read
	// its configuration again.
	reload bool
	reader
}

// reader turns the text of a variable into a field of Config.
type reader struct {
	// expected ends the sentence "NAME is X, but must be ...".
	expected string
	// read returns errUnreadable when there is no more to say than expected
	// does, another error when there is.
	read func(c *Config, text string) error
}

// errUnreadable is a reader's plain no.
var errUnreadable = errors.New("unreadable")

// load reads the variable, or its default, into c.
func (v *variable) load(c *Config, env environment) error {
	text, set := env.lookup(v.name)
	if !set {
		text = v.fallback
	}
	if text == "" {
		return nil
	}
	err := v.read(c, text)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnreadable):
		return fmt.Errorf("%s is %s, but must be %s", v.name, v.shown(text), v.expected)
	default:
		return fmt.Errorf("%s is %s, but must be %s: %w", v.name, v.shown(text), v.expected, err)
	}
}

// shown returns what people are shown of a value, quoted, for it may hold
// anything.
func (v *variable) shown(text string) string {
	if v.secret {
		return fmt.Sprintf("a secret of %d bytes", len(text))
	}
	return fmt.Sprintf("%q", redact(text))
}

// The bounds of what can be configured. They catch the slip of a key or of a
// unit; none is a recommendation.
const (
	// maxCount is beyond what the descriptors of one machine allow.
	maxCount = 10_000_000
	// minTimeout keeps timers from becoming a busy loop.
	minTimeout = 10 * time.Millisecond
	// maxTimeout is longer than any network peer will wait.
	maxTimeout = time.Hour
	// minIdle and maxIdle are what may be called idle: less ends connections that
	// are used, and more is never.
	minIdle = time.Second
	maxIdle = 30 * 24 * time.Hour
	// maxResume is a night's sleep and a day's work: who has not come back by then
	// begins anew.
	maxResume = 24 * time.Hour
	// maxShutdown lets a long session end by itself during a roll-out.
	maxShutdown = 24 * time.Hour
	// minBuffer holds one message of the largest size that is sent.
	minBuffer = 64 * kib
	// maxBuffer is beyond the memory of any machine that this runs on.
	maxBuffer = 1024 * gib
	// minRate lets a shell be used: below it a single write takes many seconds.
	minRate = 16 * kib
	// minSecret is as long as the key of the strongest code that is made of one.
	minSecret = 32
	// minToken is more than anybody guesses over a network.
	minToken = 16
	// maxBody is what a message can still hold twice over, as base64 in JSON.
	maxBody = gib
)

// variables is the whole configuration, in the order of --help.
var variables = []variable{
	{name: "PORT", fallback: "8080",
		help:   "TCP port of the HTTP listener; 0 takes any free one; no matter for a Unix socket",
		reader: port(func(c *Config) *uint16 { return &c.Port }, 0)},
	{name: "BIND", unset: "all interfaces",
		help:   "address of the HTTP listener, or unix: and the path of a Unix socket, such as unix:/run/wsproxy/http",
		reader: bind(func(c *Config) *string { return &c.Bind })},
	{name: "UNIX_SOCKET_MODE", fallback: "0660",
		help: "who may connect to Unix sockets that the server listens on, as chmod has it",
		reader: reader{"an octal mode such as 0660 or 0666", func(c *Config, text string) error {
			mode, err := strconv.ParseUint(text, 8, 32)
			c.UnixSocketMode = fs.FileMode(mode)
			if mode > 0o777 {
				return errUnreadable
			}
			return orUnreadable(err)
		}}},

	{name: "TLS_CERT_FILE", unset: "no TLS of its own",
		help:   "certificate chain of the HTTP listener, in PEM; read again when it changes",
		reader: file(func(c *Config) *string { return &c.TLSCertFile })},
	{name: "TLS_KEY_FILE", unset: "no TLS of its own",
		help:   "key of that certificate, in PEM",
		reader: file(func(c *Config) *string { return &c.TLSKeyFile })},
	{name: "ACME_DOMAINS", unset: "no certificates by ACME",
		help: "names that certificates are had for from ACME_DIRECTORY; *.<TUNNEL_DOMAIN> stands for each tunnel that there is",
		reader: reader{"DNS names such as proxy.example.com,*.tunnel.example.com, comma-separated", func(c *Config, text string) (err error) {
			c.ACMEDomains, err = parseNames(text)
			return err
		}}},
	{name: "ACME_EMAIL", unset: "none",
		help:   "where the authority may write to about certificates",
		reader: claim(func(c *Config) *string { return &c.ACMEEmail })},
	{name: "ACME_CACHE_DIR", unset: "none",
		help:   "directory in which certificates, keys and the account are kept",
		reader: file(func(c *Config) *string { return &c.ACMECacheDir })},
	{name: "ACME_DIRECTORY", fallback: "https://acme-v02.api.letsencrypt.org/directory",
		help: "where the authority is asked; https, or http to a loopback host",
		reader: reader{"an https URL, or an http URL of a loopback host", func(c *Config, text string) error {
			c.ACMEDirectory = text
			if !strings.HasPrefix(text, "http") {
				return errUnreadable
			}
			return auth.ValidateJWKSURL(text)
		}}},

	{name: "CLERK_JWKS_URL", unset: "no authentication",
		help: "where the keys that sign tokens come from; https, http to a loopback host, or file:///path",
		reader: reader{"an https URL, or an http URL of a loopback host, or a file URL such as file:///etc/wsproxy/jwks.json", func(c *Config, text string) error {
			c.JWKSURL = text
			return auth.ValidateJWKSURL(text)
		}}},
	{name: "JWT_ISSUER", unset: "any", reload: true,
		help:   "what a token's iss must say",
		reader: claim(func(c *Config) *string { return &c.JWTIssuer })},
	{name: "JWT_AUDIENCE", unset: "any", reload: true,
		help:   "what a token's aud must hold",
		reader: claim(func(c *Config) *string { return &c.JWTAudience })},
	{name: "JWT_AUTHORIZED_PARTIES", unset: "any", reload: true,
		help: "origins that a token's azp may say, comma-separated",
		reader: reader{"origins such as https://app.example.com, comma-separated", func(c *Config, text string) (err error) {
			c.JWTAuthorizedParties, err = netpolicy.ParseExactOrigins(text)
			return err
		}}},
	{name: "END_WITH_TOKEN", fallback: "false", reload: true,
		help:   "end relays and tunnels when their token has expired, unless they have shown a fresh one",
		reader: boolean(func(c *Config) *bool { return &c.EndWithToken })},
	{name: "ALLOWED_ORIGINS", fallback: "*", reload: true,
		help: "origins of pages that may connect; *, http://localhost:*, https://*.example.com and app://- work",
		reader: reader{"origins such as https://app.example.com, https://*.example.com, http://localhost:* or *, comma-separated", func(c *Config, text string) (err error) {
			c.AllowedOrigins, err = netpolicy.ParseOrigins(text)
			return err
		}}},

	{name: "WEB_TERMINAL", fallback: "off",
		help:   "on serves a terminal at /, if this build has its page; its own origin must be one of ALLOWED_ORIGINS",
		reader: onOff(func(c *Config) *bool { return &c.WebTerminal })},
	{name: "WEB_TERMINAL_ANCESTORS", unset: "none",
		help: "origins of pages that may have the terminal in a frame, and give it its token, comma-separated",
		reader: reader{"origins such as https://app.example.com, comma-separated", func(c *Config, text string) (err error) {
			c.WebTerminalAncestors, err = parseAncestors(text)
			return err
		}}},

	{name: "TUNNEL_DOMAIN", unset: "tunnels off",
		help: "domain whose subdomains are tunnels",
		reader: reader{"a DNS name such as tunnel.example.com, without scheme or port", func(c *Config, text string) (err error) {
			c.TunnelDomain, err = parseDomain(text)
			return err
		}}},
	{name: "TUNNEL_PUBLIC_URL", unset: "https://*.<TUNNEL_DOMAIN>",
		help: "what clients are told of their tunnel's address; * is the subdomain",
		reader: reader{"an http or https URL whose first host label is * and that has no path, such as https://*.tunnel.example.com", func(c *Config, text string) (err error) {
			c.TunnelPublicURL, err = parsePublicURL(text)
			return err
		}}},
	{name: "TUNNEL_PORT_MIN", fallback: "10000",
		help:   "first raw TCP port of tunnels",
		reader: port(func(c *Config) *uint16 { return &c.TunnelPortMin }, 1)},
	{name: "TUNNEL_PORT_MAX", fallback: "10100",
		help:   "last raw TCP port of tunnels, itself included",
		reader: port(func(c *Config) *uint16 { return &c.TunnelPortMax }, 1)},
	{name: "TUNNEL_BIND", unset: "all interfaces",
		help: "address that raw TCP ports listen on",
		reader: reader{"an IP address", func(c *Config, text string) error {
			addr, err := netip.ParseAddr(unbracket(text))
			c.TunnelBind = addr
			return orUnreadable(err)
		}}},
	{name: "TUNNEL_PROXY_PROTOCOL", fallback: "off",
		help:   "on: raw connections from TRUSTED_PROXIES begin with a header of the PROXY protocol, v1 or v2",
		reader: onOff(func(c *Config) *bool { return &c.TunnelProxyProtocol })},
	{name: "TUNNEL_RAW_HOST", unset: "TUNNEL_DOMAIN",
		help: "what clients are told to reach raw TCP ports at, where that is another host",
		reader: reader{"a DNS name or an IP address, without port", func(c *Config, text string) (err error) {
			c.TunnelRawHost, err = parseRawHost(text)
			return err
		}}},

	{name: "MAX_CONNS_PER_IP", fallback: "10", reload: true,
		help:   "relays and tunnels of one source address; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxConnsPerIP })},
	{name: "MAX_CONNS_PER_USER", fallback: "20", reload: true,
		help:   "relays and tunnels of one user; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxConnsPerUser })},
	{name: "MAX_TUNNEL_HTTP_PER_IP", fallback: "50", reload: true,
		help:   "HTTP requests under way to tunnels from one source address; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxTunnelHTTPPerIP })},
	{name: "MAX_TUNNEL_HTTP", fallback: "100", reload: true,
		help:   "HTTP requests under way in one tunnel; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxTunnelHTTP })},
	{name: "MAX_TUNNEL_TCP_CONNS", fallback: "100", reload: true,
		help:   "raw TCP connections of one tunnel; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxTunnelTCPConns })},
	{name: "MAX_TUNNEL_TCP_CONNS_GLOBAL", fallback: "1000", reload: true,
		help:   "raw TCP connections of all tunnels together; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxTunnelTCPConnsGlobal })},
	{name: "MAX_TUNNEL_TCP_PER_IP", fallback: "32", reload: true,
		help:   "raw TCP connections of one source address to one tunnel; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxTunnelTCPPerIP })},
	{name: "TUNNEL_TCP_IDLE_TIMEOUT", fallback: "0s", reload: true,
		help:   "how long a raw TCP connection may carry nothing before it is reset; 0s = for ever",
		reader: durationOrNever(func(c *Config) *time.Duration { return &c.TunnelTCPIdleTimeout }, minIdle, maxIdle)},
	{name: "MAX_HTTP_CONNS_PER_IP", fallback: "256", reload: true,
		help:   "connections to the HTTP listener of one peer that are no sessions; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxHTTPConnsPerIP })},
	{name: "MAX_HTTP_CONNS", unset: "up to 4096", reload: true,
		help:   "the same of all peers; unset a third of the descriptors if that is less; 0 = no limit",
		reader: count(func(c *Config) *int { return &c.MaxHTTPConns })},
	{name: "MAX_BYTES_PER_SECOND_PER_USER", fallback: "0", reload: true,
		help:   "bytes that all relays and tunnels of one user pass in a second, each way; 0 = no limit",
		reader: sizeOrNone(func(c *Config) *int64 { return &c.MaxBytesPerSecondPerUser }, minRate, maxBuffer)},

	{name: "BLOCKED_TARGETS", unset: "special-purpose ranges", reload: true,
		help: "CIDRs that no relay may reach, beside the default; none alone blocks nothing",
		reader: reader{"CIDRs such as 198.51.100.0/24,2001:db8::/32, or none alone", func(c *Config, text string) (err error) {
			c.BlockedTargets, c.BlockDefault, err = netpolicy.ParseBlocked(text)
			return err
		}}},
	{name: "ALLOWED_TARGETS", unset: "no exemption", reload: true,
		help:   "CIDRs exempt from the block, such as one private network",
		reader: prefixes(func(c *Config) *[]netip.Prefix { return &c.AllowedTargets })},
	{name: "ALLOWED_PORTS", unset: "any", reload: true,
		help: "ports that a relay may reach, such as 22,2222,8000-8999",
		reader: reader{"ports and ranges of ports such as 22,2222,8000-8999", func(c *Config, text string) (err error) {
			c.AllowedPorts, err = netpolicy.ParsePorts(text)
			return err
		}}},
	{name: "TRUSTED_PROXIES", unset: "none", reload: true,
		help: "CIDRs of the proxies in front, whose X-Forwarded-For is believed; unix for those that come over a Unix socket",
		reader: reader{"CIDRs such as 10.0.0.0/8,fd00::/8, or unix", func(c *Config, text string) (err error) {
			c.TrustedProxies, c.TrustUnix, err = parseProxies(text)
			return err
		}}},
	{name: "PROXY_PROTOCOL", fallback: "off",
		help:   "on: connections from TRUSTED_PROXIES to the HTTP listener begin with a header of the PROXY protocol, v1 or v2",
		reader: onOff(func(c *Config) *bool { return &c.ProxyProtocol })},

	{name: "TUNNEL_CONTROL_FRAMES", fallback: "text",
		help:   "frames of the tunnel's control messages: text, binary or gossh",
		reader: oneOf(func(c *Config) *string { return &c.TunnelControlFrames }, "text", "binary", "gossh")},
	{name: "TUNNEL_BUFFER", fallback: "32MiB",
		help:   "bytes that may wait in one tunnel; never more than TUNNEL_BUFFER_TOTAL",
		reader: size(func(c *Config) *int64 { return &c.TunnelBuffer }, minBuffer, maxBuffer)},
	{name: "TUNNEL_BUFFER_TOTAL", fallback: "256MiB",
		help:   "bytes that may wait in all tunnels together, HTTP bodies included",
		reader: size(func(c *Config) *int64 { return &c.TunnelBufferTotal }, minBuffer, maxBuffer)},
	{name: "TUNNEL_STALL_TIMEOUT", fallback: "3s",
		help:   "how long a peer that takes nothing may hold up its tunnel",
		reader: duration(func(c *Config) *time.Duration { return &c.TunnelStallTimeout }, minTimeout, maxTimeout)},
	{name: "TUNNEL_FORWARD_CREDENTIALS", fallback: "false",
		help:   "let cookies and Authorization through to tunnels, Set-Cookie back",
		reader: boolean(func(c *Config) *bool { return &c.TunnelForwardCredentials })},
	{name: "TUNNEL_HTTP_TIMEOUT", fallback: "60s",
		help:   "how long a request's body, and then its answer, may take",
		reader: duration(func(c *Config) *time.Duration { return &c.TunnelHTTPTimeout }, minTimeout, maxTimeout)},
	{name: "TUNNEL_MAX_BODY", fallback: "10MiB",
		help:   "largest body of a request or response through a tunnel without `http=bytes`",
		reader: size(func(c *Config) *int64 { return &c.TunnelMaxBody }, 1, maxBody)},
	{name: "TUNNEL_NAME_SECRET", unset: "names are ignored", secret: true,
		help:   "what the subdomains of named tunnels are made of: at least 32 random bytes, the same for ever",
		reader: secret(func(c *Config) *string { return &c.TunnelNameSecret }, minSecret)},

	{name: "RESUME_TIMEOUT", fallback: "15m",
		help:   "how long a session waits for a new WebSocket when its own is lost; 0s = it ends",
		reader: durationOrNever(func(c *Config) *time.Duration { return &c.ResumeTimeout }, minTimeout, maxResume)},
	{name: "RESUME_BUFFER", fallback: "1MiB",
		help:   "bytes that such a session may hold for each direction",
		reader: size(func(c *Config) *int64 { return &c.ResumeBuffer }, minBuffer, maxBuffer)},
	{name: "RESUME_BUFFER_TOTAL", fallback: "256MiB",
		help:   "the same of all sessions together, beyond 64KiB each way of every one",
		reader: size(func(c *Config) *int64 { return &c.ResumeBufferTotal }, 0, maxBuffer)},

	{name: "MAX_SESSION_AGE", fallback: "0s", reload: true,
		help:   "age at which a relay or a tunnel ends, whatever it does; 0s = none",
		reader: durationOrNever(func(c *Config) *time.Duration { return &c.MaxSessionAge }, minIdle, maxIdle)},

	{name: "DIAL_TIMEOUT", fallback: "10s",
		help:   "how long reaching a relay's target may take",
		reader: duration(func(c *Config) *time.Duration { return &c.DialTimeout }, minTimeout, maxTimeout)},
	{name: "PING_INTERVAL", fallback: "30s",
		help:   "time between keepalive pings; a client silent for 2.5 of them is gone",
		reader: duration(func(c *Config) *time.Duration { return &c.PingInterval }, minTimeout, maxTimeout)},
	{name: "SHUTDOWN_TIMEOUT", fallback: "4s", reload: true,
		help:   "how long sessions may go on after SIGTERM; 5 s more until the end",
		reader: duration(func(c *Config) *time.Duration { return &c.ShutdownTimeout }, minTimeout, maxShutdown)},
	{name: "SHUTDOWN_DELAY", fallback: "0s", reload: true,
		help:   "how long after SIGTERM /health says 503 before new sessions are refused; SHUTDOWN_TIMEOUT begins then",
		reader: durationOrNever(func(c *Config) *time.Duration { return &c.ShutdownDelay }, minTimeout, maxTimeout)},

	{name: "METRICS_ADDR", unset: "off",
		help: "address of a second listener with /metrics, such as 127.0.0.1:9090 or unix:/run/wsproxy/metrics",
		reader: reader{"host:port with an IP address, localhost or nothing as the host, such as 127.0.0.1:9090 or :9090, or unix: and a path", func(c *Config, text string) (err error) {
			c.MetricsAddr, err = parseListenAddr(text)
			return err
		}}},
	{name: "ADMIN_TOKEN", unset: "off", secret: true,
		help:   "token for /debug/ on that listener: who looks at sessions or closes them; at least 16 bytes",
		reader: secret(func(c *Config) *string { return &c.AdminToken }, minToken)},
	{name: "LOG_LEVEL", fallback: "info", reload: true,
		help: "least severe level that is logged: debug, info, warn or error",
		reader: reader{"debug, info, warn or error", func(c *Config, text string) error {
			level, known := logLevels[text]
			if !known {
				return errUnreadable
			}
			c.LogLevel = level
			return nil
		}}},
	{name: "LOG_FORMAT", fallback: "json",
		help:   "json, or text for people",
		reader: oneOf(func(c *Config) *string { return &c.LogFormat }, "json", "text")},
	{name: "CONFIG_FILE", unset: "none",
		help: "file of NAME=value lines, read at the start and at SIGHUP; the environment comes first",
		reader: reader{"a path without control characters", func(c *Config, text string) error {
			if strings.ContainsFunc(text, unicode.IsControl) {
				return errUnreadable
			}
			c.ConfigFile = text
			return nil
		}}},
}

// logLevels are the words of LOG_LEVEL. slog's own parser knows offsets such
// as "info+3" as well, which no operator means.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}
