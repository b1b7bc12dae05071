package auth

import (
	"strings"
	"testing"
)

func TestNewRefusesBadConfiguration(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{JWKSURL: "http://issuer.example/jwks"},
		{JWKSURL: "https://issuer.example/jwks", AuthorizedParties: []string{"https://app.example", ""}},
	} {
		if v, err := New(cfg); err == nil {
			v.Close()
			t.Errorf("accepted: %+v", cfg)
		}
	}
}

func TestValidateJWKSURL(t *testing.T) {
	for raw, good := range map[string]bool{
		"https://clerk.example.com/.well-known/jwks.json": true,
		"HTTPS://clerk.example.com/":                      true,
		"https://clerk.example.com:8443":                  true,
		"https://user:pass@clerk.example.com/?a=b":        true,
		"https://10.0.0.1/jwks":                           true,
		"http://localhost:8000/jwks":                      true,
		"http://LOCALHOST/jwks":                           true,
		"HTTP://LocalHost.:8000/jwks":                     true,
		"http://[0:0:0:0:0:0:0:1]/jwks":                   true,
		"http://127.255.255.254/jwks":                     true,
		"http://[::ffff:127.1.2.3]/jwks":                  true,
		"http://localhost..:8000/jwks":                    false,
		"http://127.1/jwks":                               false,
		"http://127.0.0.1/jwks":                           true,
		"http://127.8.9.10:1/jwks":                        true,
		"http://[::1]:8000/jwks":                          true,
		"http://[::ffff:127.0.0.1]:8000/jwks":             true,
		"":                                                false,
		"https://":                                        false,
		"https:///jwks":                                   false,
		"https://:443/jwks":                               false,
		"https:clerk.example.com":                         false,
		"clerk.example.com/jwks":                          false,
		"//clerk.example.com/jwks":                        false,
		" https://clerk.example.com":                      false,
		"https://clerk.example.com:0/":                    false,
		"https://clerk.example.com:99999/":                false,
		"https://clerk.example.com:x/":                    false,
		"https://clerk.example.com/\x7f":                  false,
		"http://clerk.example.com/jwks":                   false,
		"http://localhost.example.com/jwks":               false,
		"http://localhost@example.com/jwks":               false,
		"http://127.0.0.1.example.com/jwks":               false,
		"http://10.0.0.1/jwks":                            false,
		"http://0.0.0.0/jwks":                             false,
		"http://2130706433/jwks":                          false,
		"ftp://localhost/jwks":                            false,
		"file:///etc/jwks":                                true,
		"FILE:/etc/jwks":                                  true,
		"file:///etc/my keys/j%23":                        true,
		"file://etc/jwks":                                 false,
		"file://localhost/etc/jwks":                       false,
		"file://keys.example:80/etc/jwks":                 false,
		"file://user@/etc/jwks":                           false,
		"file:etc/jwks":                                   false,
		"file:":                                           false,
		"file://":                                         false,
		"file:///etc/jwks?x":                              false,
		"file:///etc/jwks?":                               false,
		"file:///etc/jwks#x":                              false,
		"file:///etc/%00jwks":                             false,
		"file:///etc/%zz":                                 false,
		"javascript:alert(1)":                             false,
	} {
		if err := ValidateJWKSURL(raw); (err == nil) != good {
			t.Errorf("%q: %v", raw, err)
		}
	}
	err := ValidateJWKSURL("http://user:password@clerk.example.com:x/?secret=1")
	if err == nil || strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
}
