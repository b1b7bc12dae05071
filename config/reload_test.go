package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestReload(t *testing.T) {
	secrets := []string{strings.Repeat("s3cret-one", 4), strings.Repeat("s3cret-two", 4)}
	holds := []string{"PORT=9000", "MAX_CONNS_PER_IP=5", "MAX_HTTP_CONNS=7", "TUNNEL_FORWARD_CREDENTIALS=1", "TUNNEL_NAME_SECRET=" + secrets[0]}
	wanted := []string{"PORT=9001", "MAX_CONNS_PER_IP= 6 ", "BLOCKED_TARGETS=none", "TUNNEL_FORWARD_CREDENTIALS=true",
		"LOG_LEVEL=info", "TUNNEL_NAME_SECRET=" + secrets[1], "MAX_CONN_PER_IP=1"}
	c, effective, changes, err := Reload(holds, wanted)
	if err != nil {
		t.Fatal(err)
	}
	derived := Config{MaxHTTPConns: defaultHTTPConns(descriptors())}.derived("MAX_HTTP_CONNS")
	want := []Change{
		{"PORT", "9000", "9001", true},
		{"MAX_CONNS_PER_IP", "5", "6", false},
		{"MAX_HTTP_CONNS", "7", derived, false},
		{"BLOCKED_TARGETS", "special-purpose ranges", "none", false},
		{"TUNNEL_NAME_SECRET", "a secret of 40 bytes", "a secret of 40 bytes", true},
	}
	if !slices.Equal(changes, want) {
		t.Errorf("the changes are %+v", changes)
	}
	if c.Port != 9000 || c.MaxConnsPerIP != 6 || c.BlockDefault || c.TunnelNameSecret != secrets[0] || len(c.Lookalikes) != 1 {
		t.Errorf("then holds %+v", c)
	}
	// What holds then is what the next one begins with: what was refused is refused again.
	_, _, changes, err = Reload(effective, wanted)
	if err != nil || len(changes) != 2 || !changes[0].Refused || !changes[1].Refused {
		t.Errorf("once more: %+v, %v", changes, err)
	}
	if _, _, changes, err = Reload(effective, effective); err != nil || len(changes) > 0 {
		t.Errorf("the same once more: %+v, %v", changes, err)
	}
}

// With one thing wrong nothing changes, nor if what is wanted and what can't change
// contradict each other.
func TestReloadRefusesAsAWhole(t *testing.T) {
	for wanted, want := range map[string]string{
		"MAX_CONNS_PER_IP=6 LOG_LEVEL=loud":                        `LOG_LEVEL is "loud"`,
		"JWT_ISSUER=x":                                             "no effect without CLERK_JWKS_URL",
		"JWT_ISSUER=x CLERK_JWKS_URL=https://k.example/jwks":       "only a restart can change",
		"TUNNEL_PORT_MIN=5000 TUNNEL_PORT_MAX=4000 LOG_LEVEL=warn": "must not be above",
	} {
		c, effective, changes, err := Reload(nil, strings.Fields(wanted))
		if err == nil || !strings.Contains(err.Error(), want) || effective != nil || changes != nil || c.Port != 0 {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

// docs/configuration.md lists what SIGHUP changes, and nothing else.
func TestDocumentsListWhatCanBeReloaded(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## What SIGHUP changes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, list, _ := strings.Cut(section, "Changed are")
	list, _, _ = strings.Cut(list, "\n\n")
	var listed []string
	for _, match := range regexp.MustCompile("`([A-Z][A-Z_]+)`").FindAllStringSubmatch(list, -1) {
		listed = append(listed, match[1])
	}
	if !slices.Equal(listed, Reloadable()) {
		t.Errorf("the document lists\n%q, and changed are\n%q", listed, Reloadable())
	}
	var page strings.Builder
	WriteHelp(&page, nil)
	if !strings.Contains(page.String(), "SIGHUP") || !strings.Contains(page.String(), " LOG_LEVEL.\n\nVARIABLE") {
		t.Errorf("--help doesn't list them:\n%s", &page)
	}
}
