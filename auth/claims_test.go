package auth

import (
	"strings"
	"testing"
	"time"
)

// strictConfig checks everything that can be checked.
func strictConfig() Config {
	return Config{
		Issuer:            "https://issuer.example",
		Audience:          "wsproxy",
		AuthorizedParties: []string{"https://app.example", "https://two.example"},
	}
}

func TestClaims(t *testing.T) {
	// A bubble's clock stands still, so that edges are exact.
	at := func(seconds int64) any { return midnight + seconds }
	leeway := int64(Leeway / time.Second)
	for name, c := range map[string]struct {
		change object
		want   Reason
	}{
		"all good": {nil, ""},

		"exp missing":                 {object{"exp": nil}, ReasonMalformed},
		"exp zero":                    {object{"exp": 0}, ReasonExpired},
		"exp negative":                {object{"exp": -1}, ReasonExpired},
		"exp a string":                {object{"exp": "4102444800"}, ReasonMalformed},
		"exp true":                    {object{"exp": true}, ReasonMalformed},
		"exp a list":                  {object{"exp": []any{4102444800}}, ReasonMalformed},
		"exp far too large":           {object{"exp": 1e300}, ReasonMalformed},
		"exp beyond int64":            {object{"exp": 1e19}, ReasonMalformed},
		"exp in the year 9999":        {object{"exp": int64(maxNumericDate)}, ""},
		"exp just after that":         {object{"exp": int64(maxNumericDate) + 1}, ReasonMalformed},
		"exp now":                     {object{"exp": at(0)}, ""},
		"exp at the edge of leeway":   {object{"exp": at(-leeway)}, ReasonExpired},
		"exp a second inside leeway":  {object{"exp": at(-leeway + 1)}, ""},
		"exp fraction inside leeway":  {object{"exp": float64(midnight-leeway+1) + 0.5}, ""},
		"exp fraction outside leeway": {object{"exp": float64(midnight-leeway) + 0.5}, ReasonExpired},

		"nbf missing":              {object{"nbf": nil}, ""},
		"nbf a string":             {object{"nbf": "0"}, ReasonMalformed},
		"nbf beyond int64":         {object{"nbf": 1e19}, ReasonMalformed},
		"nbf beyond int64 below":   {object{"nbf": -1e19}, ReasonMalformed},
		"nbf at the edge":          {object{"nbf": at(leeway)}, ""},
		"nbf a second after it":    {object{"nbf": at(leeway + 1)}, ReasonNotYetValid},
		"nbf zero":                 {object{"nbf": 0}, ""},
		"iat missing":              {object{"iat": nil}, ""},
		"iat an object":            {object{"iat": object{}}, ""},
		"iat text":                 {object{"iat": "yesterday"}, ""},
		"iat an hour ahead":        {object{"iat": at(3600)}, ""},
		"iat beyond all times":     {object{"iat": 1e300}, ""},
		"iat and nbf both missing": {object{"iat": nil, "nbf": nil}, ""},

		"iss missing":           {object{"iss": nil}, ReasonIssuer},
		"iss empty":             {object{"iss": ""}, ReasonIssuer},
		"iss another":           {object{"iss": "https://evil.example"}, ReasonIssuer},
		"iss with a slash more": {object{"iss": "https://issuer.example/"}, ReasonIssuer},
		"iss in another case":   {object{"iss": "https://ISSUER.example"}, ReasonIssuer},
		"iss a number":          {object{"iss": 7}, ReasonIssuer},
		"iss a list":            {object{"iss": []string{"https://issuer.example"}}, ReasonIssuer},

		"aud missing":               {object{"aud": nil}, ReasonAudience},
		"aud empty":                 {object{"aud": ""}, ReasonAudience},
		"aud empty list":            {object{"aud": []string{}}, ReasonAudience},
		"aud another":               {object{"aud": "other"}, ReasonAudience},
		"aud one of a list":         {object{"aud": []string{"other", "wsproxy"}}, ""},
		"aud not in the list":       {object{"aud": []string{"other", "another"}}, ReasonAudience},
		"aud a number":              {object{"aud": 7}, ReasonAudience},
		"aud a list with a number":  {object{"aud": []any{"wsproxy", 7}}, ReasonAudience},
		"aud an object":             {object{"aud": object{"wsproxy": true}}, ReasonAudience},
		"aud that only begins well": {object{"aud": "wsproxy2"}, ReasonAudience},

		"azp missing":           {object{"azp": nil}, ReasonAuthorizedParty},
		"azp empty":             {object{"azp": ""}, ReasonAuthorizedParty},
		"azp the second":        {object{"azp": "https://two.example"}, ""},
		"azp another":           {object{"azp": "https://evil.example"}, ReasonAuthorizedParty},
		"azp a list":            {object{"azp": []string{"https://app.example"}}, ReasonAuthorizedParty},
		"azp with a slash more": {object{"azp": "https://app.example/"}, ReasonAuthorizedParty},

		"sub missing":            {object{"sub": nil}, ReasonSubject},
		"sub empty":              {object{"sub": ""}, ReasonSubject},
		"sub a number":           {object{"sub": 12}, ReasonSubject},
		"sub a list":             {object{"sub": []string{"user_1"}}, ReasonSubject},
		"sub longest":            {object{"sub": strings.Repeat("x", MaxSubjectBytes)}, ""},
		"sub too long":           {object{"sub": strings.Repeat("x", MaxSubjectBytes+1)}, ReasonSubject},
		"sub too long in bytes":  {object{"sub": strings.Repeat("é", MaxSubjectBytes/2+1)}, ReasonSubject},
		"sub with a line end":    {object{"sub": "user\nadmin"}, ReasonSubject},
		"sub with a NUL":         {object{"sub": "user\x00"}, ReasonSubject},
		"sub with an escape":     {object{"sub": "\x1b[2Juser"}, ReasonSubject},
		"sub with a DEL":         {object{"sub": "user\x7f"}, ReasonSubject},
		"sub with a C1 control":  {object{"sub": "user\u0085"}, ReasonSubject},
		"sub turned right-left":  {object{"sub": "user\u202eadmin"}, ReasonSubject},
		"sub with a line sep":    {object{"sub": "user\u2028"}, ReasonSubject},
		"sub with replacement":   {object{"sub": "user\ufffd"}, ReasonSubject},
		"sub in other letters":   {object{"sub": "użytkownik 名 7"}, ""},
		"sub with punctuation":   {object{"sub": `auth0|5f7c-"x"@example.com`}, ""},
		"claims nobody knows":    {object{"admin": true, "nested": object{"a": []int{1}}}, ""},
		"names in another case":  {object{"sub": nil, "Sub": "user_1"}, ReasonSubject},
		"exp under another case": {object{"exp": nil, "EXP": at(60)}, ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, strictConfig(), func(t *testing.T, v *Verifier, e *fakeEndpoint) {
				if now := time.Now().Unix(); now != midnight {
					t.Fatalf("the bubble's clock shows %d, expected %d", now, midnight)
				}
				if got := reasonOf(t, v, sign(goodClaims(c.change))); got != c.want {
					t.Errorf("with a known key: refused for %q, want %q", got, c.want)
				}
				if c.want == "" {
					return
				}
				// The same refusal, no fetch and no RSA operation without the key.
				time.Sleep(2 * DefaultUnknownKeyInterval)
				token := sign(goodClaims(object{"exp": time.Now().Unix() + 60}, shift(c.change)), object{"kid": "unknown"})
				if got := reasonOf(t, v, token); got != c.want {
					t.Errorf("with an unknown key: refused for %q, want %q", got, c.want)
				}
				if asked := e.asked(); len(asked) != 1 {
					t.Errorf("a token that needs no key caused %d fetches", len(asked)-1)
				}
			})
		})
	}
}

// midnight is when every bubble begins: 2000-01-01 UTC.
const midnight = 946684800

// shift moves times near midnight to now.
func shift(change object) object {
	moved := object{}
	for name, value := range change {
		if seconds, ok := value.(int64); ok && seconds < maxNumericDate {
			value = seconds + time.Now().Unix() - midnight
		}
		moved[name] = value
	}
	return moved
}

func TestClaimsThatAreNotConfiguredAreNotChecked(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		for _, change := range []object{
			{"iss": nil, "aud": nil, "azp": nil},
			{"iss": 7, "aud": object{}, "azp": []int{1}},
		} {
			if got := reasonOf(t, v, sign(goodClaims(change))); got != "" {
				t.Errorf("%v: refused for %q", change, got)
			}
		}
	})
}

func TestOfClaimsThatOccurTwiceTheLastCounts(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		header := `{"alg":"RS256","kid":"a"}`
		identity, err := v.Verify(t.Context(), signText(keyA, header, `{"sub":"first","sub":"last","exp":1,"exp":4102444800}`))
		if err != nil || identity.Subject != "last" {
			t.Errorf("got %v, %v", identity, err)
		}
		if got := reasonOf(t, v, signText(keyA, header, `{"sub":"x","exp":4102444800,"exp":1}`)); got != ReasonExpired {
			t.Errorf("an expiry after a later one: refused for %q", got)
		}
	})
}

func TestClaimsMustBeAnObject(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		for _, claims := range []string{
			`null`, `[]`, `"text"`, `7`, ``, `{`, `{"sub":"x","exp":4102444800}x`, `{"sub":"x","exp":4102444800`,
			strings.Repeat(`[`, 5000), `{"sub":"x","exp":1e999}`,
		} {
			token := signText(keyA, `{"alg":"RS256","kid":"a"}`, claims)
			if got := reasonOf(t, v, token); got != ReasonMalformed {
				t.Errorf("claims %.40q: refused for %q", claims, got)
			}
		}
	})
}

func TestSubjectsThatDecodeAlikeAreRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		for _, subject := range []string{`"user\ud800"`, "\"user\xff\"", `"user\udc00"`} {
			token := signText(keyA, `{"alg":"RS256","kid":"a"}`, `{"exp":4102444800,"sub":`+subject+`}`)
			if got := reasonOf(t, v, token); got != ReasonSubject {
				t.Errorf("subject %q: refused for %q", subject, got)
			}
		}
	})
}
