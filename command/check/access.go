package check

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"wsproxy/auth"
)

func authentication(v view) (warnings, notes []finding) {
	switch {
	case v.authenticated():
	case !v.isLocal():
		warnings = append(warnings, say("CLERK_JWKS_URL", "it is not set, so that anyone who reaches this server can use it: set it (wsproxy keygen makes keys), or BIND=127.0.0.1"))
	case isUnix(v.Bind):
		notes = append(notes, say("CLERK_JWKS_URL", "it is not set: whoever may connect to the Unix socket can use the server, and whoever reaches a front proxy that does"))
	default:
		notes = append(notes, say("CLERK_JWKS_URL", "it is not set: everyone on this machine can use the server"))
	}
	return warnings, notes
}

// settingsFile looks at the file of settings.
func settingsFile(v view) (warnings, notes []finding) {
	for _, name := range v.file.Unknown {
		warnings = append(warnings, say("CONFIG_FILE", "it sets %s, which nobody reads: the file has wsproxy's settings alone", name))
	}
	for _, name := range v.file.Shadowed {
		warnings = append(warnings, say(name, "what CONFIG_FILE says of it has no effect, for the environment sets it, and comes first"))
	}
	if v.ConfigFile != "" {
		if others, path := writableByOthers(v.ConfigFile); others {
			warnings = append(warnings, say("CONFIG_FILE", "others than its owner can write %s, and so change the settings: chmod go-w", path))
		}
	}
	return warnings, notes
}

// keyFile looks at a key set on disk, as the server will.
func keyFile(v view) (warnings, notes []finding) {
	if !strings.HasPrefix(strings.ToLower(v.JWKSURL), "file:") {
		return nil, nil
	}
	warn := func(format string, args ...any) {
		warnings = append(warnings, say("CLERK_JWKS_URL", format, args...))
	}
	found, err := auth.ReadKeyFile(v.JWKSURL)
	if err != nil {
		warn("the key set can't be read, and every token is refused until it can be: %v", err)
		return warnings, nil
	}
	if found.Private {
		warn("%s has a private key in it, which whoever reads it can sign tokens with: give the server the public keys alone, and make a new key", found.Path)
	}
	if found.Broken != "" {
		warn("%s has a key that can't be used: %s", found.Path, found.Broken)
	}
	if others, path := writableByOthers(found.Path); others {
		warn("others than its owner can write %s, and so let in whom they like: chmod go-w", path)
	}
	return warnings, nil
}

// writableByOthers looks at a file and its directory, where there are modes.
func writableByOthers(path string) (bool, string) {
	if runtime.GOOS == "windows" {
		return false, ""
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		return true, path
	}
	dir := path[:strings.LastIndexByte(path, '/')+1]
	info, err := os.Stat(dir)
	// In a directory with the sticky bit files can't be replaced by others.
	return err == nil && info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0, dir
}

func claims(v view) (warnings, notes []finding) {
	if strings.HasPrefix(v.JWKSURL, "http") && v.JWTIssuer == "" && v.JWTAudience == "" && len(v.JWTAuthorizedParties) == 0 {
		notes = append(notes, say("JWT_AUTHORIZED_PARTIES", "neither it nor JWT_AUDIENCE nor JWT_ISSUER is set: every token that the issuer's keys sign is accepted, whatever it was issued for"))
	}
	return nil, notes
}

func origins(v view) (warnings, notes []finding) {
	switch {
	case v.AllowedOrigins.Any() && !v.authenticated() && isUnix(v.Bind):
		warnings = append(warnings, say("ALLOWED_ORIGINS", "it is * and nobody needs a token, so that any web page that a browser within reach of the front proxy has open can use the server: list the origins of your pages"))
	case v.AllowedOrigins.Any() && !v.authenticated():
		warnings = append(warnings, say("ALLOWED_ORIGINS", "it is * and nobody needs a token, so that any web page that a browser within reach of this server has open can use it, with BIND=127.0.0.1 too: list the origins of your pages"))
	case !v.AllowedOrigins.Any() && v.TunnelDomain != "" && v.AllowedOrigins.Allowed(strings.Replace(v.TunnelPublicURL, "*", "0123456789abcdef", 1)):
		warnings = append(warnings, say("ALLOWED_ORIGINS", "pages that are served through tunnels are among the allowed ones, and may be anybody's: leave *.%s out", v.TunnelDomain))
	}
	return warnings, nil
}

// Addresses that a relay should never lead to unless somebody means it.
var (
	metadataAddr = netip.MustParseAddr("169.254.169.254") // of most clouds, hands out credentials
	loopbackAddr = netip.MustParseAddr("127.0.0.1")
	loopback6    = netip.MustParseAddr("::1")
)

func targets(v view) (warnings, notes []finding) {
	if !v.BlockDefault {
		warnings = append(warnings, say("BLOCKED_TARGETS", "none blocks nothing: relays lead into private networks, to this machine itself and to the metadata service of its cloud"))
		return warnings, nil
	}
	for _, allowed := range v.AllowedTargets {
		warn := func(format string, args ...any) {
			warnings = append(warnings, say("ALLOWED_TARGETS", "%s: %s", allowed, fmt.Sprintf(format, args...)))
		}
		switch {
		case allowed.Bits() == 0:
			warn("it exempts everything from the block")
		case allowed.Contains(metadataAddr):
			warn("it has %s in it, where clouds hand out credentials", metadataAddr)
		case (allowed.Contains(loopbackAddr) || allowed.Contains(loopback6)) && !v.isLocal():
			warn("whoever may use the server reaches what listens on this machine for itself alone")
		}
	}
	return warnings, nil
}

// A prefix shorter than this has strangers in it: no network of one owner is larger.
const (
	broadProxies  = 8
	broadProxies6 = 16
)

func proxies(v view) (warnings, notes []finding) {
	for _, trusted := range v.TrustedProxies {
		bits := broadProxies
		if trusted.Addr().Is6() {
			bits = broadProxies6
		}
		if trusted.Bits() < bits {
			warnings = append(warnings, say("TRUSTED_PROXIES", "%s has strangers in it, each of whom can claim any address, so that no limit for each address holds: list the proxies alone", trusted))
		}
	}
	if isUnix(v.Bind) {
		if !v.TrustUnix {
			warnings = append(warnings, say("TRUSTED_PROXIES", "all that come over the Unix socket are one address, and share MAX_CONNS_PER_IP: add unix, so that the front proxy's X-Forwarded-For is believed"))
		}
		if v.UnixSocketMode&0o006 != 0 {
			notes = append(notes, say("UNIX_SOCKET_MODE", "every process on this machine can connect, and with unix among TRUSTED_PROXIES claim any address"))
		}
	} else if len(v.TrustedProxies) == 0 && v.isLocal() && v.authenticated() {
		notes = append(notes, say("TRUSTED_PROXIES", "it is not set; behind a front proxy on this machine all clients are one address, and share MAX_CONNS_PER_IP: set 127.0.0.1/32"))
	}
	return warnings, notes
}

// acmePort is where an authority asks for tls-alpn-01 (RFC 8737, section 3).
const acmePort = 443

func ownTLS(v view) (warnings, notes []finding) {
	if v.TLSKeyFile != "" && runtime.GOOS != "windows" {
		switch info, err := os.Stat(v.TLSKeyFile); {
		case err != nil:
			warnings = append(warnings, say("TLS_KEY_FILE", "it can't be read, so the server won't start: %v", err))
		case info.Mode().Perm()&0o004 != 0:
			warnings = append(warnings, say("TLS_KEY_FILE", "every process on this machine can read the key: chmod o-r %s", v.TLSKeyFile))
		}
	}
	if v.ACME() && v.Port != acmePort {
		notes = append(notes, say("ACME_DOMAINS", "the authority asks at port 443 of these names: it must lead to PORT, which is %d", v.Port))
	}
	if v.ACMETunnels {
		notes = append(notes, say("ACME_DOMAINS", "each tunnel is a certificate to be had, of which authorities grant a domain some dozens a week: with many tunnels a wildcard certificate in TLS_CERT_FILE is better"))
	}
	return warnings, notes
}

func credentials(v view) (warnings, notes []finding) {
	const text = "services in tunnels get the cookies and passwords that browsers send to *.%s"
	switch {
	case !v.TunnelForwardCredentials || v.TunnelDomain == "":
	case v.authenticated():
		notes = append(notes, say("TUNNEL_FORWARD_CREDENTIALS", text+": let nobody open tunnels whom you don't trust with them", v.TunnelDomain))
	default:
		warnings = append(warnings, say("TUNNEL_FORWARD_CREDENTIALS", text+", and anyone can open one", v.TunnelDomain))
	}
	return warnings, notes
}

func names(v view) (warnings, notes []finding) {
	if v.TunnelNameSecret == "" {
		return nil, nil
	}
	switch {
	case v.TunnelDomain == "":
		warnings = append(warnings, say("TUNNEL_NAME_SECRET", "it has no effect without TUNNEL_DOMAIN"))
	case !v.authenticated():
		warnings = append(warnings, say("TUNNEL_NAME_SECRET", "it has no effect without CLERK_JWKS_URL: names belong to users, and there are none"))
	}
	if len(slices.Compact([]byte(v.TunnelNameSecret))) == 1 {
		warnings = append(warnings, say("TUNNEL_NAME_SECRET", "it can be guessed: make it by openssl rand -hex 32"))
	}
	return warnings, nil
}

func metricsListener(v view) (warnings, notes []finding) {
	if v.MetricsAddr == "" || isUnix(v.MetricsAddr) {
		return nil, nil
	}
	if v.AdminToken != "" && len(slices.Compact([]byte(v.AdminToken))) == 1 {
		warnings = append(warnings, say("ADMIN_TOKEN", "it can be guessed: make it by openssl rand -hex 16"))
	}
	host, _ := splitAddr(v.MetricsAddr)
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr.IsUnspecified():
		warnings = append(warnings, say("METRICS_ADDR", "%s listens on all interfaces, and asks nobody who he is: give a private address, such as 127.0.0.1:9090, unless a firewall is before it", v.MetricsAddr))
	case err == nil && addr.IsGlobalUnicast() && !addr.IsPrivate():
		warnings = append(warnings, say("METRICS_ADDR", "%s is a public address, and asks nobody who he is: give a private one", v.MetricsAddr))
	}
	return warnings, nil
}
