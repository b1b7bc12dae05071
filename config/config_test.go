package config

import (
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"wsproxy/netpolicy"
)

// defaults is the contract's table of defaults, written out.
func defaults(t *testing.T) Config {
	t.Helper()
	everyOrigin, err := netpolicy.ParseOrigins("*")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Port:                    8080,
		UnixSocketMode:          0o660,
		ACMEDirectory:           "https://acme-v02.api.letsencrypt.org/directory",
		AllowedOrigins:          everyOrigin,
		TunnelPortMin:           10000,
		TunnelPortMax:           10100,
		MaxConnsPerIP:           10,
		MaxConnsPerUser:         20,
		MaxTunnelHTTPPerIP:      50,
		MaxTunnelHTTP:           100,
		MaxTunnelTCPConns:       100,
		MaxTunnelTCPConnsGlobal: 1000,
		MaxTunnelTCPPerIP:       32,
		MaxHTTPConnsPerIP:       256,
		MaxHTTPConns:            defaultHTTPConns(descriptors()),
		BlockDefault:            true,
		TunnelControlFrames:     "text",
		TunnelBuffer:            32 << 20,
		TunnelBufferTotal:       256 << 20,
		TunnelStallTimeout:      3 * time.Second,
		TunnelHTTPTimeout:       60 * time.Second,
		TunnelMaxBody:           10 << 20,
		ResumeTimeout:           15 * time.Minute,
		ResumeBuffer:            1 << 20,
		ResumeBufferTotal:       256 << 20,
		DialTimeout:             10 * time.Second,
		PingInterval:            30 * time.Second,
		ShutdownTimeout:         4 * time.Second,
		LogLevel:                slog.LevelInfo,
		LogFormat:               "json",
	}
}

func TestLoadDefaults(t *testing.T) {
	emptied := make([]string, len(variables))
	for i, v := range variables {
		emptied[i] = v.name + "="
	}
	for name, env := range map[string][]string{
		"unset":        []string{},
		"set to empty": emptied,
	} {
		got, err := Load(env)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := defaults(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestLoadValues(t *testing.T) {
	must := func(origins netpolicy.Origins, err error) netpolicy.Origins {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return origins
	}
	ports, err := netpolicy.ParsePorts("22,2222,8000-8999")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env  []string
		want func(c *Config)
	}{
		{[]string{"PORT=1"}, func(c *Config) { c.Port = 1 }},
		{[]string{"PORT=65535"}, func(c *Config) { c.Port = 65535 }},
		{[]string{"PORT=0"}, func(c *Config) { c.Port = 0 }},
		{[]string{"BIND=127.0.0.1"}, func(c *Config) { c.Bind = "127.0.0.1" }},
		{[]string{"BIND=unix:/run/wsproxy/http", "UNIX_SOCKET_MODE=666", "METRICS_ADDR=unix:/run/m"}, func(c *Config) {
			c.Bind, c.UnixSocketMode, c.MetricsAddr = "unix:/run/wsproxy/http", 0o666, "unix:/run/m"
			c.MaxHTTPConns = defaultHTTPConns(descriptors() / 3)
		}},
		{[]string{"TLS_CERT_FILE=/etc/ssl/../w.pem", "TLS_KEY_FILE=/etc/w.key"}, func(c *Config) {
			c.TLSCertFile, c.TLSKeyFile = "/etc/w.pem", "/etc/w.key"
			c.MaxHTTPConns = defaultHTTPConns(descriptors() / 3)
		}},
		{[]string{"ACME_DOMAINS=Proxy.example.com, *.t.example,", "TUNNEL_DOMAIN=t.example", "ACME_CACHE_DIR=/var/lib/w", "ACME_EMAIL=me@example.com", "ACME_DIRECTORY=http://127.0.0.1:1/d"}, func(c *Config) {
			tunnelsAt(c, "t.example")
			c.ACMEDomains, c.ACMETunnels, c.ACMECacheDir, c.ACMEEmail, c.ACMEDirectory = []string{"proxy.example.com"}, true, "/var/lib/w", "me@example.com", "http://127.0.0.1:1/d"
			c.MaxHTTPConns = defaultHTTPConns(descriptors() / 3)
		}},
		{[]string{"TRUSTED_PROXIES=unix"}, func(c *Config) { c.TrustUnix = true }},
		{[]string{"TRUSTED_PROXIES= 10.0.0.0/8 , unix ,", "PROXY_PROTOCOL=on"}, func(c *Config) {
			c.TrustedProxies, c.TrustUnix, c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, true, true
		}},
		{[]string{"BIND=localhost"}, func(c *Config) { c.Bind = "localhost" }},
		{[]string{"BIND=::1"}, func(c *Config) { c.Bind = "::1" }},
		{[]string{"BIND=[::1]"}, func(c *Config) { c.Bind = "::1" }},
		{[]string{"BIND=[fe80::1%eth0]"}, func(c *Config) { c.Bind = "fe80::1%eth0" }},
		{[]string{"CLERK_JWKS_URL=https://clerk.example.com/.well-known/jwks.json", "JWT_ISSUER=https://clerk.example.com", "JWT_AUDIENCE=wsproxy"}, func(c *Config) {
			c.JWKSURL = "https://clerk.example.com/.well-known/jwks.json"
			c.JWTIssuer = "https://clerk.example.com"
			c.JWTAudience = "wsproxy"
		}},
		{[]string{"CLERK_JWKS_URL=file:///etc/wsproxy/jwks.json"}, func(c *Config) { c.JWKSURL = "file:///etc/wsproxy/jwks.json" }},
		{[]string{"CLERK_JWKS_URL=http://127.0.0.1:8081/jwks"}, func(c *Config) { c.JWKSURL = "http://127.0.0.1:8081/jwks" }},
		{[]string{"CLERK_JWKS_URL=https://k.example.com/j", "JWT_AUTHORIZED_PARTIES=https://App.example.com, http://localhost:3000,https://b.example.com:443,http://c.example.com:80,https://d.example.com:80,chrome-extension://abc"}, func(c *Config) {
			c.JWKSURL = "https://k.example.com/j"
			c.JWTAuthorizedParties = []string{"https://app.example.com", "http://localhost:3000", "https://b.example.com", "http://c.example.com", "https://d.example.com:80", "chrome-extension://abc"}
		}},
		{[]string{"ALLOWED_ORIGINS=https://app.example.com,http://localhost:*"}, func(c *Config) {
			c.AllowedOrigins = must(netpolicy.ParseOrigins("https://app.example.com,http://localhost:*"))
		}},
		{[]string{"TRUSTED_PROXIES=10.0.0.0/8", "PROXY_PROTOCOL=on", "TUNNEL_PROXY_PROTOCOL=on"}, func(c *Config) {
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			c.ProxyProtocol, c.TunnelProxyProtocol = true, true
		}},
		{[]string{"WEB_TERMINAL=on"}, func(c *Config) { c.WebTerminal = true }},
		{[]string{"WEB_TERMINAL=off", "WEB_TERMINAL_ANCESTORS=https://App.example.com:443/,localhost:5173"}, func(c *Config) {
			c.WebTerminalAncestors = []string{"https://app.example.com", "http://localhost:5173", "https://localhost:5173"}
		}},
		{[]string{"TUNNEL_DOMAIN=Tunnel.Example.com"}, func(c *Config) {
			tunnelsAt(c, "tunnel.example.com")
		}},
		{[]string{"TUNNEL_DOMAIN=*.tunnel.example.com"}, func(c *Config) { tunnelsAt(c, "tunnel.example.com") }},
		{[]string{"TUNNEL_DOMAIN=tunnel.example.com."}, func(c *Config) { tunnelsAt(c, "tunnel.example.com") }},
		{[]string{"TUNNEL_DOMAIN= *.tunnel.example.com. "}, func(c *Config) { tunnelsAt(c, "tunnel.example.com") }},
		{[]string{"TUNNEL_DOMAIN=t.example", "TUNNEL_RAW_HOST=Raw.Example.com"}, func(c *Config) {
			tunnelsAt(c, "t.example")
			c.TunnelRawHost = "raw.example.com"
		}},
		{[]string{"TUNNEL_DOMAIN=t.example", "TUNNEL_RAW_HOST=raw.example.com."}, func(c *Config) {
			tunnelsAt(c, "t.example")
			c.TunnelRawHost = "raw.example.com"
		}},
		{[]string{"TUNNEL_DOMAIN=t.example", "TUNNEL_RAW_HOST=198.51.100.7"}, func(c *Config) {
			tunnelsAt(c, "t.example")
			c.TunnelRawHost = "198.51.100.7"
		}},
		{[]string{"TUNNEL_DOMAIN=t.example", "TUNNEL_RAW_HOST=[2001:DB8:0::1]"}, func(c *Config) {
			tunnelsAt(c, "t.example")
			c.TunnelRawHost = "2001:db8::1"
		}},
		{[]string{"TUNNEL_RAW_HOST=raw.example.com"}, func(*Config) {}},
		{[]string{"TUNNEL_DOMAIN=tunnel.localhost", "TUNNEL_PUBLIC_URL=http://*.Tunnel.localhost:8080/"}, func(c *Config) {
			tunnelsAt(c, "tunnel.localhost")
			c.TunnelPublicURL = "http://*.tunnel.localhost:8080"
		}},
		// Read, so that a slip is found, but without tunnels nobody is told it.
		{[]string{"TUNNEL_PUBLIC_URL=https://*.example.com"}, func(*Config) {}},
		{[]string{"TUNNEL_PORT_MIN=1", "TUNNEL_PORT_MAX=1"}, func(c *Config) { c.TunnelPortMin, c.TunnelPortMax = 1, 1 }},
		{[]string{"TUNNEL_PORT_MAX=65535"}, func(c *Config) { c.TunnelPortMax = 65535 }},
		{[]string{"TUNNEL_BIND=127.0.0.1"}, func(c *Config) { c.TunnelBind = netip.MustParseAddr("127.0.0.1") }},
		{[]string{"TUNNEL_BIND=[::1]"}, func(c *Config) { c.TunnelBind = netip.MustParseAddr("::1") }},
		{[]string{"MAX_CONNS_PER_IP=0", "MAX_CONNS_PER_USER=0"}, func(c *Config) { c.MaxConnsPerIP, c.MaxConnsPerUser = 0, 0 }},
		{[]string{"MAX_CONNS_PER_IP=7", "MAX_CONNS_PER_USER=10000000"}, func(c *Config) { c.MaxConnsPerIP, c.MaxConnsPerUser = 7, maxCount }},
		{[]string{"MAX_TUNNEL_HTTP_PER_IP=0", "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_TCP_CONNS=0", "MAX_TUNNEL_TCP_CONNS_GLOBAL=0"}, func(c *Config) {
			c.MaxTunnelHTTPPerIP, c.MaxTunnelHTTP, c.MaxTunnelTCPConns, c.MaxTunnelTCPConnsGlobal = 0, 0, 0, 0
		}},
		{[]string{"MAX_TUNNEL_HTTP_PER_IP=1", "MAX_TUNNEL_HTTP=2"}, func(c *Config) { c.MaxTunnelHTTPPerIP, c.MaxTunnelHTTP = 1, 2 }},
		{[]string{"MAX_TUNNEL_TCP_CONNS=3", "MAX_TUNNEL_TCP_CONNS_GLOBAL=4"}, func(c *Config) { c.MaxTunnelTCPConns, c.MaxTunnelTCPConnsGlobal = 3, 4 }},
		{[]string{"MAX_TUNNEL_TCP_PER_IP=0", "TUNNEL_TCP_IDLE_TIMEOUT=0"}, func(c *Config) { c.MaxTunnelTCPPerIP = 0 }},
		{[]string{"MAX_TUNNEL_TCP_PER_IP=5", "TUNNEL_TCP_IDLE_TIMEOUT=1h"}, func(c *Config) { c.MaxTunnelTCPPerIP, c.TunnelTCPIdleTimeout = 5, time.Hour }},
		{[]string{"MAX_HTTP_CONNS_PER_IP=0", "MAX_HTTP_CONNS=0"}, func(c *Config) { c.MaxHTTPConnsPerIP, c.MaxHTTPConns = 0, 0 }},
		{[]string{"MAX_HTTP_CONNS_PER_IP=5", "MAX_HTTP_CONNS=6"}, func(c *Config) { c.MaxHTTPConnsPerIP, c.MaxHTTPConns = 5, 6 }},
		{[]string{"BLOCKED_TARGETS=none"}, func(c *Config) { c.BlockDefault = false }},
		{[]string{"BLOCKED_TARGETS= none, "}, func(c *Config) { c.BlockDefault = false }},
		{[]string{"BLOCKED_TARGETS=8.8.8.8/24,,fd00::/8,"}, func(c *Config) {
			c.BlockedTargets = []netip.Prefix{netip.MustParsePrefix("8.8.8.0/24"), netip.MustParsePrefix("fd00::/8")}
		}},
		{[]string{"ALLOWED_TARGETS=127.0.0.0/8,::1/128"}, func(c *Config) {
			c.AllowedTargets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		}},
		{[]string{"ALLOWED_PORTS=22,2222,8000-8999"}, func(c *Config) { c.AllowedPorts = ports }},
		{[]string{"ALLOWED_PORTS=22,,2222, 8000-8999,"}, func(c *Config) { c.AllowedPorts = ports }},
		{[]string{"ALLOWED_ORIGINS=,app.example.com/,app://-,"}, func(c *Config) {
			c.AllowedOrigins = must(netpolicy.ParseOrigins("http://app.example.com,https://app.example.com,app://-"))
		}},
		{[]string{"CLERK_JWKS_URL=https://k.example.com/j", "JWT_AUTHORIZED_PARTIES=https://a.example.com/,,b.example.com,app://-, "}, func(c *Config) {
			c.JWKSURL = "https://k.example.com/j"
			c.JWTAuthorizedParties = []string{"https://a.example.com", "http://b.example.com", "https://b.example.com", "app://-"}
		}},
		{[]string{"CLERK_JWKS_URL=http://LOCALHOST:8081/jwks"}, func(c *Config) { c.JWKSURL = "http://LOCALHOST:8081/jwks" }},
		{[]string{"TRUSTED_PROXIES=172.16.0.1/12,"}, func(c *Config) {
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}
		}},
		{[]string{"TUNNEL_CONTROL_FRAMES=binary"}, func(c *Config) { c.TunnelControlFrames = "binary" }},
		{[]string{"TUNNEL_CONTROL_FRAMES=gossh"}, func(c *Config) { c.TunnelControlFrames = "gossh" }},
		{[]string{"TUNNEL_BUFFER=512KiB", "TUNNEL_BUFFER_TOTAL=1GiB"}, func(c *Config) { c.TunnelBuffer, c.TunnelBufferTotal = 512<<10, 1<<30 }},
		{[]string{"TUNNEL_BUFFER=8MiB", "TUNNEL_BUFFER_TOTAL=8MiB"}, func(c *Config) { c.TunnelBuffer, c.TunnelBufferTotal = 8<<20, 8<<20 }},
		// Only the total was asked for: the default beside it gives way.
		{[]string{"TUNNEL_BUFFER_TOTAL=1MiB"}, func(c *Config) { c.TunnelBuffer, c.TunnelBufferTotal = 1<<20, 1<<20 }},
		{[]string{"TUNNEL_STALL_TIMEOUT=10ms"}, func(c *Config) { c.TunnelStallTimeout = 10 * time.Millisecond }},
		{[]string{"TUNNEL_FORWARD_CREDENTIALS=true"}, func(c *Config) { c.TunnelForwardCredentials = true }},
		{[]string{"TUNNEL_FORWARD_CREDENTIALS=1"}, func(c *Config) { c.TunnelForwardCredentials = true }},
		{[]string{"TUNNEL_FORWARD_CREDENTIALS=0"}, func(*Config) {}},
		{[]string{"TUNNEL_HTTP_TIMEOUT=1m30s"}, func(c *Config) { c.TunnelHTTPTimeout = 90 * time.Second }},
		{[]string{"TUNNEL_MAX_BODY=1000"}, func(c *Config) { c.TunnelMaxBody = 1000 }},
		{[]string{"TUNNEL_MAX_BODY=1GiB"}, func(c *Config) { c.TunnelMaxBody = 1 << 30 }},
		{[]string{"TUNNEL_NAME_SECRET= " + strings.Repeat("x", 32)}, func(c *Config) { c.TunnelNameSecret = strings.Repeat("x", 32) }},
		{[]string{"RESUME_TIMEOUT=0"}, func(c *Config) { c.ResumeTimeout = 0 }},
		{[]string{"RESUME_TIMEOUT=24h", "RESUME_BUFFER=64KiB", "RESUME_BUFFER_TOTAL=0"}, func(c *Config) {
			c.ResumeTimeout, c.ResumeBuffer, c.ResumeBufferTotal = 24*time.Hour, 64<<10, 0
		}},
		// What a session may hold is a bound, and no promise.
		{[]string{"RESUME_BUFFER=4MiB", "RESUME_BUFFER_TOTAL=1MiB"}, func(c *Config) { c.ResumeBuffer, c.ResumeBufferTotal = 4<<20, 1<<20 }},
		{[]string{"DIAL_TIMEOUT=1.5s", "PING_INTERVAL=1h", "SHUTDOWN_TIMEOUT=24h", "SHUTDOWN_DELAY=1h"}, func(c *Config) {
			c.DialTimeout, c.PingInterval, c.ShutdownTimeout, c.ShutdownDelay = 1500*time.Millisecond, time.Hour, 24*time.Hour, time.Hour
		}},
		{[]string{"METRICS_ADDR=127.0.0.1:9090"}, func(c *Config) { c.MetricsAddr = "127.0.0.1:9090" }},
		{[]string{"METRICS_ADDR=:0"}, func(c *Config) { c.MetricsAddr = ":0" }},
		{[]string{"METRICS_ADDR=[::1]:9090"}, func(c *Config) { c.MetricsAddr = "[::1]:9090" }},
		{[]string{"METRICS_ADDR=localhost:9090"}, func(c *Config) { c.MetricsAddr = "localhost:9090" }},
		{[]string{"ADMIN_TOKEN=0123456789abcdef"}, func(c *Config) { c.AdminToken = "0123456789abcdef" }},
		{[]string{"MAX_SESSION_AGE=12h"}, func(c *Config) { c.MaxSessionAge = 12 * time.Hour }},
		{[]string{"LOG_LEVEL=debug", "LOG_FORMAT=text"}, func(c *Config) { c.LogLevel, c.LogFormat = slog.LevelDebug, "text" }},
		{[]string{"LOG_LEVEL=warn"}, func(c *Config) { c.LogLevel = slog.LevelWarn }},
		{[]string{"LOG_LEVEL=error"}, func(c *Config) { c.LogLevel = slog.LevelError }},
	} {
		got, err := Load(test.env)
		if err != nil {
			t.Errorf("%q: %v", test.env, err)
			continue
		}
		want := defaults(t)
		test.want(&want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", test.env, got, want)
		}
	}
}

// tunnelsAt is what follows from a domain alone.
func tunnelsAt(c *Config, domain string) {
	c.TunnelDomain, c.TunnelPublicURL, c.TunnelRawHost = domain, "https://*."+domain, domain
}

// samples are a value for each variable that is not its default.
var samples = map[string]string{
	"PORT": "80", "BIND": "127.0.0.1", "UNIX_SOCKET_MODE": "0600", "TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k", "ACME_DOMAINS": "p.example", "ACME_EMAIL": "me@p.example", "ACME_CACHE_DIR": "/a", "ACME_DIRECTORY": "https://a.example/d",
	"CLERK_JWKS_URL": "https://k.example/j", "JWT_ISSUER": "me", "JWT_AUDIENCE": "you",
	"JWT_AUTHORIZED_PARTIES": "https://a.example", "END_WITH_TOKEN": "true", "ALLOWED_ORIGINS": "https://a.example", "WEB_TERMINAL": "on", "WEB_TERMINAL_ANCESTORS": "https://a.example", "TUNNEL_DOMAIN": "t.example",
	"TUNNEL_PUBLIC_URL": "https://*.t.example", "TUNNEL_PORT_MIN": "9", "TUNNEL_PORT_MAX": "9", "TUNNEL_BIND": "::1",
	"TUNNEL_RAW_HOST": "r.example", "MAX_CONNS_PER_IP": "7", "MAX_CONNS_PER_USER": "7", "MAX_TUNNEL_HTTP_PER_IP": "7",
	"MAX_TUNNEL_HTTP": "7", "MAX_TUNNEL_TCP_CONNS": "7", "MAX_TUNNEL_TCP_CONNS_GLOBAL": "7", "MAX_HTTP_CONNS_PER_IP": "7", "MAX_HTTP_CONNS": "7", "MAX_TUNNEL_TCP_PER_IP": "7", "MAX_BYTES_PER_SECOND_PER_USER": "1MiB", "TUNNEL_TCP_IDLE_TIMEOUT": "7s", "BLOCKED_TARGETS": "none",
	"ALLOWED_TARGETS": "10.0.0.0/8", "ALLOWED_PORTS": "22", "TRUSTED_PROXIES": "10.0.0.0/8", "PROXY_PROTOCOL": "on", "TUNNEL_PROXY_PROTOCOL": "on", "TUNNEL_CONTROL_FRAMES": "gossh",
	"TUNNEL_BUFFER": "1MiB", "TUNNEL_BUFFER_TOTAL": "2MiB", "TUNNEL_STALL_TIMEOUT": "7s", "TUNNEL_FORWARD_CREDENTIALS": "true",
	"TUNNEL_HTTP_TIMEOUT": "7s", "TUNNEL_MAX_BODY": "1MiB", "TUNNEL_NAME_SECRET": strings.Repeat("x", 32), "RESUME_TIMEOUT": "7s", "RESUME_BUFFER": "2MiB", "RESUME_BUFFER_TOTAL": "3MiB", "DIAL_TIMEOUT": "7s", "PING_INTERVAL": "7s", "SHUTDOWN_TIMEOUT": "7s", "SHUTDOWN_DELAY": "7s",
	"METRICS_ADDR": ":9090", "ADMIN_TOKEN": "0123456789abcdef", "MAX_SESSION_AGE": "7h", "LOG_LEVEL": "warn", "LOG_FORMAT": "text", "CONFIG_FILE": "/etc/wsproxy.conf",
}

// Editors, quoting and files with another system's line ends leave blanks.
func TestBlanksAroundAValueSayNothing(t *testing.T) {
	var plain, blanks, nothing []string
	for _, v := range variables {
		if samples[v.name] == "" {
			t.Errorf("%s has no value here", v.name)
		}
		plain = append(plain, v.name+"="+samples[v.name])
		blanks = append(blanks, v.name+"= \t"+samples[v.name]+"\r\n ")
		nothing = append(nothing, v.name+"= \t\r\n")
	}
	want, err := Load(plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Load(blanks); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with blanks %+v, %v; want %+v", got, err, want)
	}
	if got, err := Load(nothing); err != nil || !reflect.DeepEqual(got, defaults(t)) {
		t.Errorf("of blanks alone %+v, %v; want the defaults", got, err)
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	c, err := Load([]string{"PORT=http", "LOG_LEVEL=loud", "TUNNEL_PORT_MIN=9", "TUNNEL_PORT_MAX=8", "JWT_ISSUER=me"})
	if err == nil {
		t.Fatal("no error")
	}
	if !reflect.DeepEqual(c, Config{}) {
		t.Errorf("half a configuration came with the error: %+v", c)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Errorf("%d lines, want one for each of four mistakes:\n%v", len(lines), err)
	}
	for _, name := range []string{"PORT is", "LOG_LEVEL is", "TUNNEL_PORT_MIN is", "JWT_ISSUER is"} {
		if !strings.Contains("\n"+err.Error(), "\n"+name) {
			t.Errorf("no line starts with %q:\n%v", name, err)
		}
	}
}

func TestListenAddr(t *testing.T) {
	for bind, want := range map[string]string{"": ":8080", "127.0.0.1": "127.0.0.1:8080", "[::1]": "[::1]:8080", "localhost": "localhost:8080", "unix:/run/w": "unix:/run/w"} {
		c, err := Load([]string{"BIND=" + bind})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ListenAddr(); got != want {
			t.Errorf("BIND=%s: %s, want %s", bind, got, want)
		}
	}
}
