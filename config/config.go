package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"wsproxy/netpolicy"
)

// Config is everything that an operator can decide. It never changes: a server that
// reads its configuration again gets another one. Each field names the variable that it comes from. The
// zero Config is not usable: only Load makes one.
type Config struct {
	// ConfigFile is the path of a file with more settings; "" for none. Load doesn't
	// read it: [ReadEnvironment] does. (CONFIG_FILE)
	ConfigFile string

	// Port is where the HTTP listener listens; 0 takes any free port. (PORT)
	Port uint16
	// Bind is the address of the HTTP listener: an IP address without
	// brackets, "localhost", "" for all interfaces, or "unix:" and the path of a
	// Unix socket, which has no port. (BIND)
	Bind string
	// UnixSocketMode is the mode of Unix sockets that the server listens on.
	// (UNIX_SOCKET_MODE)
	UnixSocketMode fs.FileMode

	// TLSCertFile and TLSKeyFile are what the HTTP listener's TLS has; both or none is
	// "". (TLS_CERT_FILE, TLS_KEY_FILE)
	TLSCertFile, TLSKeyFile string
	// ACMEDomains are the names that certificates are had for, in lower case, without
	// that of ACMETunnels; empty means none are had. (ACME_DOMAINS)
	ACMEDomains []string
	// ACMETunnels has certificates be had for tunnels that there are. ("*." and
	// TunnelDomain in ACME_DOMAINS)
	ACMETunnels bool
	// ACMEEmail is where the authority may write to; "" is nowhere. (ACME_EMAIL)
	ACMEEmail string
	// ACMECacheDir is where certificates are kept; set if any are had. (ACME_CACHE_DIR)
	ACMECacheDir string
	// ACMEDirectory is the authority's URL. (ACME_DIRECTORY)
	ACMEDirectory string

	// JWKSURL is where the keys that sign tokens come from; "" lets everyone
	// in as anonymous. (CLERK_JWKS_URL)
	JWKSURL string
	// JWTIssuer is what "iss" must say; "" accepts any. (JWT_ISSUER)
	JWTIssuer string
	// JWTAudience is what "aud" must hold; "" accepts any. (JWT_AUDIENCE)
	JWTAudience string
	// JWTAuthorizedParties are the origins that "azp" may say, lower-case and
	// without default ports; empty accepts any. (JWT_AUTHORIZED_PARTIES)
	JWTAuthorizedParties []string
	// EndWithToken has sessions end when their token has expired. (END_WITH_TOKEN)
	EndWithToken bool
	// AllowedOrigins judges the Origin header of a browser. (ALLOWED_ORIGINS)
	AllowedOrigins netpolicy.Origins

	// WebTerminal serves the page with a terminal at "/". (WEB_TERMINAL)
	WebTerminal bool
	// WebTerminalAncestors are the origins whose pages may have that one in a
	// frame, as browsers write them; empty means none. (WEB_TERMINAL_ANCESTORS)
	WebTerminalAncestors []string

	// TunnelDomain is the domain whose subdomains are tunnels, lower-case;
	// "" disables tunnels. (TUNNEL_DOMAIN)
	TunnelDomain string
	// TunnelPublicURL is what tells a client its tunnel's address: an http or
	// https URL without a path whose "*" stands for the subdomain. It is ""
	// only when TunnelDomain is. (TUNNEL_PUBLIC_URL)
	TunnelPublicURL string
	// TunnelPortMin is the first raw TCP port of tunnels. (TUNNEL_PORT_MIN)
	TunnelPortMin uint16
	// TunnelPortMax is the last one, itself included. (TUNNEL_PORT_MAX)
	TunnelPortMax uint16
	// TunnelRawHost is what clients are told to reach raw ports at: a name or an
	// IP address without brackets, in lower case. It is "" only when
	// TunnelDomain is. (TUNNEL_RAW_HOST)
	TunnelRawHost string
	// TunnelBind is the address that raw ports listen on; the zero Addr means
	// all interfaces. (TUNNEL_BIND)
	TunnelBind netip.Addr
	// TunnelProxyProtocol has raw connections from TrustedProxies begin with a header
	// of the PROXY protocol. (TUNNEL_PROXY_PROTOCOL)
	TunnelProxyProtocol bool

	// MaxConnsPerIP bounds /relay and /tunnel together, per source address;
	// 0 is no limit. (MAX_CONNS_PER_IP)
	MaxConnsPerIP int
	// MaxConnsPerUser bounds the same per authenticated user; 0 is no limit.
	// (MAX_CONNS_PER_USER)
	MaxConnsPerUser int
	// MaxTunnelHTTPPerIP bounds the HTTP requests under way to tunnels, per
	// source address; 0 is no limit. (MAX_TUNNEL_HTTP_PER_IP)
	MaxTunnelHTTPPerIP int
	// MaxTunnelHTTP bounds the HTTP requests under way in one tunnel; 0 is no
	// limit. (MAX_TUNNEL_HTTP)
	MaxTunnelHTTP int
	// MaxTunnelTCPConns bounds the raw connections of one tunnel; 0 is no limit.
	// (MAX_TUNNEL_TCP_CONNS)
	MaxTunnelTCPConns int
	// MaxTunnelTCPConnsGlobal bounds the raw connections of all tunnels; 0 is no
	// limit. (MAX_TUNNEL_TCP_CONNS_GLOBAL)
	MaxTunnelTCPConnsGlobal int
	// MaxTunnelTCPPerIP bounds the raw connections of one source address to one
	// tunnel; 0 is no limit. (MAX_TUNNEL_TCP_PER_IP)
	MaxTunnelTCPPerIP int
	// TunnelTCPIdleTimeout is after how long without a byte either way a raw
	// connection is reset; 0 is never. (TUNNEL_TCP_IDLE_TIMEOUT)
	TunnelTCPIdleTimeout time.Duration
	// MaxHTTPConnsPerIP bounds the connections to the HTTP listener that are no
	// sessions, per direct peer that is no trusted proxy; 0 is no limit.
	// (MAX_HTTP_CONNS_PER_IP)
	MaxHTTPConnsPerIP int
	// MaxHTTPConns bounds the same over all peers; 0 is no limit.
	// (MAX_HTTP_CONNS)
	MaxHTTPConns int

	// MaxBytesPerSecondPerUser bounds what all WebSockets of one user, or of one
	// address if anonymous, pass in a second, each way; 0 is no limit.
	// (MAX_BYTES_PER_SECOND_PER_USER)
	MaxBytesPerSecondPerUser int64

	// BlockedTargets are ranges that no relay may reach, beside the default.
	// (BLOCKED_TARGETS)
	BlockedTargets []netip.Prefix
	// BlockDefault blocks every special-purpose range. Where it is false nothing
	// is blocked at all. (BLOCKED_TARGETS, unless it is "none")
	BlockDefault bool
	// AllowedTargets are exempt from whichever block applies. (ALLOWED_TARGETS)
	AllowedTargets []netip.Prefix
	// AllowedPorts are the ports that a relay may reach; the zero PortSet
	// means any. (ALLOWED_PORTS)
	AllowedPorts netpolicy.PortSet
	// TrustedProxies are the peers whose forwarding headers are believed.
	// (TRUSTED_PROXIES)
	TrustedProxies []netip.Prefix
	// TrustUnix has peers of Unix sockets be such peers, too. ("unix" in
	// TRUSTED_PROXIES)
	TrustUnix bool
	// ProxyProtocol has connections to the HTTP listener from TrustedProxies begin
	// with a header of the PROXY protocol. (PROXY_PROTOCOL)
	ProxyProtocol bool

	// TunnelControlFrames is how control messages go out unless a client asks
	// otherwise: "text", "binary" or "gossh". (TUNNEL_CONTROL_FRAMES)
	TunnelControlFrames string
	// TunnelBuffer is how many bytes may wait in one tunnel for its outside
	// peers, beyond each connection's own share. (TUNNEL_BUFFER)
	TunnelBuffer int64
	// TunnelBufferTotal is the same over all tunnels, in bytes, bodies held in
	// memory included; never below TunnelBuffer. (TUNNEL_BUFFER_TOTAL)
	TunnelBufferTotal int64
	// TunnelStallTimeout is how long a raw peer that acknowledges nothing may
	// hold up its tunnel. (TUNNEL_STALL_TIMEOUT)
	TunnelStallTimeout time.Duration
	// TunnelForwardCredentials lets cookies and credentials through to
	// tunnels, and Set-Cookie back. (TUNNEL_FORWARD_CREDENTIALS)
	TunnelForwardCredentials bool
	// TunnelHTTPTimeout bounds the arrival of a request's body, and then the
	// wait for the tunnel's answer. (TUNNEL_HTTP_TIMEOUT)
	TunnelHTTPTimeout time.Duration
	// TunnelMaxBody bounds the body of a request or response through a
	// tunnel, in bytes. (TUNNEL_MAX_BODY)
	TunnelMaxBody int64
	// TunnelNameSecret is what the subdomains of named tunnels are made of; ""
	// has names ignored. It must not be logged. (TUNNEL_NAME_SECRET)
	TunnelNameSecret string

	// ResumeTimeout is how long a session that has lost its WebSocket waits for
	// another one; 0 ends sessions with theirs. (RESUME_TIMEOUT)
	ResumeTimeout time.Duration
	// ResumeBuffer bounds what such a session keeps for its client, and what it
	// lets the client send ahead, in bytes each. (RESUME_BUFFER)
	ResumeBuffer int64
	// ResumeBufferTotal bounds that of all sessions together, beyond 64 KiB each
	// way of every one, in bytes; 0 leaves them no more than those.
	// (RESUME_BUFFER_TOTAL)
	ResumeBufferTotal int64

	// MaxSessionAge is at what age a relay or a tunnel ends; 0 is at none.
	// (MAX_SESSION_AGE)
	MaxSessionAge time.Duration

	// DialTimeout bounds reaching a relay's target. (DIAL_TIMEOUT)
	DialTimeout time.Duration
	// PingInterval is the time between keepalive pings. (PING_INTERVAL)
	PingInterval time.Duration
	// ShutdownTimeout is how long sessions may go on after the first signal.
	// (SHUTDOWN_TIMEOUT)
	ShutdownTimeout time.Duration
	// ShutdownDelay is how long after the first signal new sessions are still let in,
	// while /health says already that the server leaves. (SHUTDOWN_DELAY)
	ShutdownDelay time.Duration

	// MetricsAddr is the address of the listener for /metrics, as net.Listen
	// takes it; "" is off. (METRICS_ADDR)
	MetricsAddr string
	// AdminToken is what whoever looks into the server on that listener, or ends
	// sessions, must have; "" has nobody do that. It must not be logged. (ADMIN_TOKEN)
	AdminToken string
	// LogLevel is the least severe level that is logged. (LOG_LEVEL)
	LogLevel slog.Level
	// LogFormat is "json" or "text". (LOG_FORMAT)
	LogFormat string

	// Lookalikes are variables of the environment that have no effect, though
	// somebody probably believes so. Whoever starts a server warns of them, and of
	// those of a file, which are [Environment.Misspelled].
	Lookalikes []Lookalike
}

// Load reads the environment, which is like that of os.Environ. A variable that
// is unset or set to "" has its default, and blanks around a value say nothing. Every value that can't be read, and
// every pair that can't be true together, is in the error: one line each, which
// names the variable, its value and what is expected. With an error the Config
// is the zero Config.
func Load(environ []string) (Config, error) {
	env := environment(environ)
	c := Config{BlockDefault: true}
	var errs []error
	unread := make(map[string]bool)
	for _, v := range variables {
		if err := v.load(&c, env); err != nil {
			errs = append(errs, err)
			unread[v.name] = true
		}
	}
	errs = append(errs, c.reconcile(env, unread)...)
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	c.Lookalikes = lookalikes(env)
	return c, nil
}

// reconcile derives the defaults that depend on other variables and returns
// what contradicts itself. It says nothing about variables that are in unread,
// for those have their own error.
func (c *Config) reconcile(env environment, unread map[string]bool) []error {
	var errs []error

	if c.TunnelDomain == "" {
		c.TunnelPublicURL, c.TunnelRawHost = "", ""
	} else {
		c.TunnelPublicURL = cmp.Or(c.TunnelPublicURL, "https://*."+c.TunnelDomain)
		c.TunnelRawHost = cmp.Or(c.TunnelRawHost, c.TunnelDomain)
	}

	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") && !unread["TLS_CERT_FILE"] && !unread["TLS_KEY_FILE"] {
		errs = append(errs, errors.New("TLS_CERT_FILE and TLS_KEY_FILE belong together, but only one of them is set: set both, or neither"))
	}
	errs = append(errs, c.reconcileACME(unread)...)

	if _, set := env.lookup("MAX_HTTP_CONNS"); !set {
		c.MaxHTTPConns = defaultHTTPConns(descriptors() / c.descriptorsPerConn())
	}

	if !unread["TUNNEL_PORT_MIN"] && !unread["TUNNEL_PORT_MAX"] && c.TunnelPortMin > c.TunnelPortMax {
		errs = append(errs, fmt.Errorf("TUNNEL_PORT_MIN is %d and TUNNEL_PORT_MAX is %d, but the first must not be above the second: set both", c.TunnelPortMin, c.TunnelPortMax))
	}

	if !unread["TUNNEL_BUFFER"] && !unread["TUNNEL_BUFFER_TOTAL"] && c.TunnelBuffer > c.TunnelBufferTotal {
		if text, set := env.lookup("TUNNEL_BUFFER"); set {
			errs = append(errs, fmt.Errorf("TUNNEL_BUFFER is %q, but must not be above TUNNEL_BUFFER_TOTAL, which is %d bytes: lower the one or raise the other", text, c.TunnelBufferTotal))
		} else {
			// A small total alone is a plain wish: only the default is too big.
			c.TunnelBuffer = c.TunnelBufferTotal
		}
	}

	if len(c.TrustedProxies) == 0 && !c.TrustUnix && !unread["TRUSTED_PROXIES"] {
		for _, setting := range []struct {
			name string
			on   bool
		}{{"PROXY_PROTOCOL", c.ProxyProtocol}, {"TUNNEL_PROXY_PROTOCOL", c.TunnelProxyProtocol}} {
			if setting.on {
				errs = append(errs, fmt.Errorf("%s is on, but has no effect without TRUSTED_PROXIES: list the proxies that send the header", setting.name))
			}
		}
	}

	// Rules for tokens without keys to check them with would look like
	// protection, while everyone is let in.
	if c.JWKSURL == "" && !unread["CLERK_JWKS_URL"] {
		for _, name := range []string{"JWT_ISSUER", "JWT_AUDIENCE", "JWT_AUTHORIZED_PARTIES"} {
			if text, set := env.lookup(name); set && !unread[name] {
				errs = append(errs, fmt.Errorf("%s is %q, but has no effect without CLERK_JWKS_URL, and no token would be checked: set CLERK_JWKS_URL or unset %s", name, redact(text), name))
			}
		}
		if c.EndWithToken {
			errs = append(errs, errors.New("END_WITH_TOKEN is true, but there are no tokens without CLERK_JWKS_URL: set CLERK_JWKS_URL or unset END_WITH_TOKEN"))
		}
	}
	return errs
}

// descriptorsPerConn is how many descriptors a connection to the HTTP listener takes: what
// does not come over bare TCP is carried to the edge by a connection within the process.
func (c *Config) descriptorsPerConn() uint64 {
	if _, unix := UnixPath(c.Bind); unix || c.TLS() {
		return 3
	}
	return 1
}

// TLS reports whether the HTTP listener speaks TLS.
func (c *Config) TLS() bool { return c.TLSCertFile != "" || c.ACME() }

// ACME reports whether certificates are had from an authority.
func (c *Config) ACME() bool { return len(c.ACMEDomains) > 0 || c.ACMETunnels }

// reconcileACME sets ACMETunnels, and returns what contradicts itself.
func (c *Config) reconcileACME(unread map[string]bool) (errs []error) {
	if unread["ACME_DOMAINS"] || unread["TUNNEL_DOMAIN"] {
		return nil
	}
	var names []string
	for _, name := range c.ACMEDomains {
		switch bare, wild := strings.CutPrefix(name, "*."); {
		case !wild:
			names = append(names, name)
		case bare == c.TunnelDomain:
			c.ACMETunnels = true
		default:
			errs = append(errs, fmt.Errorf("ACME_DOMAINS has %q in it, but of wildcards only that of TUNNEL_DOMAIN, which is %q: it stands for tunnels that there are", name, c.TunnelDomain))
		}
	}
	c.ACMEDomains = names
	if c.ACME() && c.ACMECacheDir == "" && !unread["ACME_CACHE_DIR"] {
		errs = append(errs, errors.New("ACME_CACHE_DIR is not set, but must be a directory if ACME_DOMAINS is set: without it each start would ask for all certificates anew, which authorities refuse after a few times"))
	}
	return errs
}

// UnixPath returns the path of the Unix socket that an address such as BIND's is.
func UnixPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, "unix:") }

// Sources returns who is trusted to say on whose behalf it asks.
func (c Config) Sources() netpolicy.Sources {
	return netpolicy.NewSources(c.TrustedProxies).WithUnix(c.TrustUnix)
}

// ListenAddr is the address of the HTTP listener, as net.Listen takes it, or that of a
// Unix socket as BIND has it.
func (c Config) ListenAddr() string {
	if _, unix := UnixPath(c.Bind); unix {
		return c.Bind
	}
	return net.JoinHostPort(c.Bind, strconv.Itoa(int(c.Port)))
}
