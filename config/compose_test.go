package config

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the variables into compose.yaml")

const composeFile = "../compose.yaml"

// composeOwn are the variables that compose.yaml gives a value of its own when .env has
// none, by its way of writing it, and why.
var composeOwn = map[string]struct{ value, why string }{
	"TRUSTED_PROXIES":     {"172.30.99.2/32,${TRUSTED_PROXIES:-}", "Caddy's address in the network below. What .env adds stands before Caddy."},
	"TUNNEL_BUFFER_TOTAL": {"${TUNNEL_BUFFER_TOTAL:-128MiB}", "With RESUME_BUFFER_TOTAL and GOMEMLIMIT it fits into mem_limit."},
	"RESUME_BUFFER_TOTAL": {"${RESUME_BUFFER_TOTAL:-64MiB}", ""},
	"SHUTDOWN_TIMEOUT":    {"${SHUTDOWN_TIMEOUT:-30s}", "Longer than the default, for which stop_grace_period makes room."},
}

// What stands around the generated lines of compose.yaml.
const (
	composeBegin = "      # All that wsproxy reads, each from .env: go test ./config -run Compose -update writes these lines.\n"
	composeEnd   = "      # The end of these lines.\n"
)

// composeLines are the variables as compose.yaml hands them on. What .env doesn't have
// is set to nothing, which is unset.
func composeLines() string {
	var lines strings.Builder
	for _, v := range variables {
		own := composeOwn[v.name]
		if own.why != "" {
			fmt.Fprintf(&lines, "      # %s\n", own.why)
		}
		if own.value == "" {
			own.value = "${" + v.name + ":-}"
		}
		fmt.Fprintf(&lines, "      %s: %s\n", v.name, own.value)
	}
	return lines.String()
}

// readCompose returns compose.yaml in three parts: the second one is generated.
func readCompose(t *testing.T) (before, lines, after string) {
	t.Helper()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), composeBegin)
	lines, after, alsoFound := strings.Cut(rest, composeEnd)
	if !found || !alsoFound {
		t.Fatalf("compose.yaml lacks the line %q or %q", composeBegin, composeEnd)
	}
	return before, lines, after
}

func TestComposeHasEveryVariable(t *testing.T) {
	before, lines, after := readCompose(t)
	want := composeLines()
	if *update {
		if err := os.WriteFile(composeFile, []byte(before+composeBegin+want+composeEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if lines != want {
		t.Error("compose.yaml does not hand on every variable as it should: go test ./config -run Compose -update")
	}
	for name := range composeOwn {
		if !isOurs(name) {
			t.Errorf("compose.yaml would set %s, which nobody reads", name)
		}
	}
}

// interpolate does to text what compose does to its file.
func interpolate(text string, env map[string]string) string {
	return regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`).ReplaceAllStringFunc(text, func(reference string) string {
		name, fallback, _ := strings.Cut(strings.Trim(reference, "${}"), ":-")
		if value := env[name]; value != "" {
			return value
		}
		return fallback
	})
}

// composeEnvironment is what wsproxy finds in its container.
func composeEnvironment(t *testing.T, env map[string]string) (environ []string) {
	t.Helper()
	_, lines, _ := readCompose(t)
	for line := range strings.Lines(interpolate(lines, env)) {
		if name, value, isVariable := strings.Cut(strings.TrimSpace(line), ": "); isVariable && !strings.HasPrefix(name, "#") {
			environ = append(environ, name+"="+value)
		} else if name, isEmpty := strings.CutSuffix(strings.TrimSpace(line), ":"); isEmpty {
			environ = append(environ, name+"=")
		}
	}
	return environ
}

// composeTogether are variables that those of a prefix have no effect without.
var composeTogether = map[string][]string{
	"JWT_":        {"CLERK_JWKS_URL"},
	"END_WITH":    {"CLERK_JWKS_URL"},
	"TUNNEL_PORT": {"TUNNEL_PORT_MIN", "TUNNEL_PORT_MAX"},
	"TLS_":        {"TLS_CERT_FILE", "TLS_KEY_FILE"},
	"ACME_":       {"ACME_DOMAINS", "ACME_CACHE_DIR"},
}

// What one writes into .env has an effect, and nothing else has.
func TestComposeHandsOnWhatIsSet(t *testing.T) {
	for _, v := range variables {
		value := samples[v.name]
		env := map[string]string{v.name: value}
		for prefix, others := range composeTogether {
			if strings.HasPrefix(v.name, prefix) {
				for _, other := range others {
					env[other] = samples[other]
				}
			}
		}
		environ := composeEnvironment(t, env)
		c, err := Load(environ)
		if err != nil {
			t.Errorf("%s=%s: %v", v.name, value, err)
			continue
		}
		for _, setting := range c.Settings(environ) {
			_, fixed := composeOwn[setting.Name]
			if _, set := env[setting.Name]; setting.Set != (set || fixed) {
				t.Errorf("with %s in .env, whether %s is set: %v", v.name, setting.Name, setting.Set)
			}
			if setting.Name == v.name && !v.secret && !strings.Contains(setting.Value, value) {
				t.Errorf("%s=%s: wsproxy has %s", v.name, value, setting.Value)
			}
		}
	}
}

// composeValue is what compose makes of a line of the file, of which there is one.
func composeValue(t *testing.T, pattern string, env map[string]string) string {
	t.Helper()
	before, _, after := readCompose(t)
	found := regexp.MustCompile(`(?m)^ *`+pattern+`$`).FindAllStringSubmatch(interpolate(before+after, env), -1)
	if len(found) != 1 {
		t.Fatalf("compose.yaml has %d lines like %s", len(found), pattern)
	}
	return found[0][1]
}

// Whatever the shutdown is set to, wsproxy itself ends before the engine kills it.
func TestComposeWaitsForTheLongestShutdown(t *testing.T) {
	grace, err := time.ParseDuration(composeValue(t, "stop_grace_period: (.*)", nil))
	if longest := maxTimeout + maxShutdown + closes; err != nil || grace <= longest {
		t.Errorf("stop_grace_period is %v, %v; a shutdown takes up to %v", grace, err, longest)
	}
}

// What stands around wsproxy follows its ports.
func TestComposeFollowsPorts(t *testing.T) {
	standard := func(name string) string {
		return variables[slices.IndexFunc(variables, func(v variable) bool { return v.name == name })].fallback
	}
	for _, c := range []struct {
		env       map[string]string
		http, raw string
	}{
		{nil, standard("PORT"), standard("TUNNEL_PORT_MIN") + "-" + standard("TUNNEL_PORT_MAX")},
		{map[string]string{"PORT": "81", "TUNNEL_PORT_MIN": "20000", "TUNNEL_PORT_MAX": "20009"}, "81", "20000-20009"},
	} {
		if got := composeValue(t, "WSPROXY: (.*)", c.env); got != "wsproxy:"+c.http {
			t.Errorf("Caddy asks %s", got)
		}
		if got := composeValue(t, `- "(\d+-\d+:.*)"`, c.env); got != c.raw+":"+c.raw {
			t.Errorf("the raw ports are %s", got)
		}
	}
	if v := composeValue(t, "GOMEMLIMIT: (.*)", map[string]string{"GOMEMLIMIT": "1GiB"}); v != "1GiB" {
		t.Errorf("GOMEMLIMIT is %s", v)
	}
}
