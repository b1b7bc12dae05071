package auth

import (
	"testing"
	"testing/synctest"
)

// Who asks for the file to be read again need not wait for the next look.
func TestRefreshReadsAtOnce(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, f keysFile, _ *logLines) {
		f.overwrite(jwks(jwk("b", keyB)))
		for range 100 {
			v.Refresh()
		}
		synctest.Wait()
		if got := reasonOf(t, v, withB()); got != "" {
			t.Errorf("the new key: refused for %q", got)
		}
		if s := v.Stats(); s.Fetches < 2 || s.Fetches > 4 { // of many at once one is left to be done
			t.Errorf("it was read %d times", s.Fetches)
		}
	})
}

// Claims that are asked for can change while tokens are judged.
func TestReplaceClaims(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, _ keysFile, _ *logLines) {
		token := sign(goodClaims(object{"aud": "one", "iss": "https://i.example", "azp": "https://a.example"}))
		for _, test := range []struct {
			cfg  Config
			want Reason
		}{
			{Config{Audience: "one", Issuer: "https://i.example", AuthorizedParties: []string{"https://a.example"}}, ""},
			{Config{Audience: "two"}, ReasonAudience},
			{Config{Issuer: "https://j.example"}, ReasonIssuer},
			{Config{AuthorizedParties: []string{"https://b.example"}}, ReasonAuthorizedParty},
			{Config{}, ""},
		} {
			if err := v.Replace(test.cfg); err != nil {
				t.Fatal(err)
			}
			if got := reasonOf(t, v, token); got != test.want {
				t.Errorf("%+v: refused for %q, want %q", test.cfg, got, test.want)
			}
		}
		if err := v.Replace(Config{AuthorizedParties: []string{""}}); err == nil {
			t.Error("an empty party is taken")
		}
	})
}
