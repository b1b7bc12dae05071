package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The dashboard's queries can be read, and ask for what there is.
func TestDashboardWorks(t *testing.T) {
	var dashboard struct {
		Title  string
		Panels []struct {
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/wsproxy.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	names, _ := families(t)
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	queries := 0
	for _, panel := range dashboard.Panels {
		if panel.GridPos.X+panel.GridPos.W > 24 || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %s stands outside, or shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			wantKnown(t, names, target.Expr)
			query := strings.NewReplacer("$__rate_interval", "5m", "$job", "wsproxy", "$instance", ".*").Replace(target.Expr)
			fmt.Fprintf(&rules, "  - record: dashboard:query%d\n    expr: %q\n", queries, query)
			queries++
		}
	}
	if queries < 30 {
		t.Errorf("there are %d queries", queries)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", "", "check", "rules", file)
}
