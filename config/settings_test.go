package config

import (
	"slices"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	environ := []string{
		"PORT= 9000 ", "BIND=", "CLERK_JWKS_URL=https://user:s3cret@k.example/jwks", "TUNNEL_DOMAIN=T.example.",
		"TUNNEL_NAME_SECRET=s3cret-s3cret-s3cret-s3cret-s3cret", "TUNNEL_BUFFER_TOTAL=16MiB", "MAX_HTTP_CONNS=7",
	}
	c, err := Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	settings := c.Settings(environ)
	if len(settings) != len(variables) {
		t.Errorf("there are %d settings of %d variables", len(settings), len(variables))
	}
	for _, want := range []Setting{
		{"PORT", "9000", true},
		{"BIND", "all interfaces", false},
		{"CLERK_JWKS_URL", "https://xxxxx@k.example/jwks", true},
		{"TUNNEL_DOMAIN", "T.example.", true},
		{"TUNNEL_PUBLIC_URL", "https://*.t.example", false},
		{"TUNNEL_RAW_HOST", "t.example", false},
		{"TUNNEL_NAME_SECRET", "a secret of 34 bytes", true},
		{"TUNNEL_BUFFER", "16MiB", false},
		{"TUNNEL_BUFFER_TOTAL", "16MiB", true},
		{"MAX_HTTP_CONNS", "7", true},
		{"LOG_LEVEL", "info", false},
	} {
		if !slices.Contains(settings, want) {
			t.Errorf("%+v is not among %+v", want, settings)
		}
	}
	for i, s := range settings {
		if s.Name != variables[i].name || s.Value == "" || strings.Contains(s.Value, "s3cret") {
			t.Errorf("%d is %+v", i, s)
		}
	}
	if c, _ = Load(nil); c.Settings(nil)[slices.IndexFunc(variables, func(v variable) bool { return v.name == "TUNNEL_PUBLIC_URL" })].Value != "https://*.<TUNNEL_DOMAIN>" {
		t.Errorf("without a domain: %+v", c.Settings(nil))
	}
}
