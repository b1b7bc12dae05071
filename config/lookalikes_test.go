package config

import (
	"reflect"
	"slices"
	"testing"
)

func TestLookalikes(t *testing.T) {
	for name, meant := range map[string]string{
		"MAX_CONN_PER_IP":        "MAX_CONNS_PER_IP", // the name of the public server
		"MAX_CONNS_PER_USERS":    "MAX_CONNS_PER_USER",
		"MAX_CONN_PER_USERS":     "MAX_CONNS_PER_USER", // plurals, however many
		"TRUSTED_PROXY":          "TRUSTED_PROXIES",
		"ALLOWED_ORIGIN":         "ALLOWED_ORIGINS",
		"ALOWED_ORIGINS":         "ALLOWED_ORIGINS",
		"ALLOWED_ORIGJNS":        "ALLOWED_ORIGINS",
		"BLOCKED_TRAGETS":        "BLOCKED_TARGETS",
		"TUNNEL_DOMAINN":         "TUNNEL_DOMAIN",
		"XTUNNEL_DOMAIN":         "TUNNEL_DOMAIN",
		"LOG_LEVE":               "LOG_LEVEL",
		"METRIC_ADDR":            "METRICS_ADDR",
		"MAX_TUNNEL_TCP_CONN":    "MAX_TUNNEL_TCP_CONNS",
		"JWT_AUTHORIZED_PARTYS":  "JWT_AUTHORIZED_PARTIES",
		"JWT_AUTHORISED_PARTIES": "JWT_AUTHORIZED_PARTIES",

		// Two letters, other words, or names too short to tell.
		"MAX_CONNS":             "",
		"MAX_CON_PER_IP":        "",
		"MAX_TUNNEL_TCP_PER_IP": "",
		"TUNNEL_PORT":           "",
		"TUNNEL_TOKEN":          "",
		"POST":                  "",
		"PORTS":                 "",
		"SPORT":                 "",
		"BINDS":                 "",
		"BIN":                   "",
		"LOG":                   "",
		"LOGNAME":               "",
		"PATH":                  "",
		"HOME":                  "",
		"":                      "",
		"S":                     "",
		"WSPROXY_PORT":          "",
	} {
		var want []Lookalike
		if meant != "" {
			want = []Lookalike{{Name: name, Meant: meant}}
		}
		c, err := Load([]string{"PATH=/bin", name + "=7", "LOG_FORMAT=text"})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.Lookalikes, want) {
			t.Errorf("%s: %v, want %v", name, c.Lookalikes, want)
		}
	}
}

func TestLookalikesAreNoneOfOurs(t *testing.T) {
	var everything []string
	for _, v := range variables {
		everything = append(everything, v.name+"=x")
	}
	if found := lookalikes(everything); found != nil {
		t.Errorf("our own are taken for others: %v", found)
	}
	// Set to nothing it is as good as not there.
	if found := lookalikes([]string{"MAX_CONN_PER_IP=", "ALLOWED_ORIGIN= "}); found != nil {
		t.Errorf("nothing is warned of: %v", found)
	}
	want := []Lookalike{{"MAX_CONN_PER_IP", "MAX_CONNS_PER_IP"}, {"LOG_LEVELS", "LOG_LEVEL"}}
	if found := lookalikes([]string{"MAX_CONN_PER_IP=1", "HOME=/", "LOG_LEVELS=2"}); !slices.Equal(found, want) {
		t.Errorf("of two there are %v", found)
	}
}
