package tap

import "bytes"

// maxProbe is how much of the front of a refusal is looked into: Rails' page has its
// styles in front.
const maxProbe = 16 << 10

// hostChecks are what development servers say to a Host that they don't know. The
// first that fits counts.
var hostChecks = []struct {
	says, also string // both must be there
	tool       string
	setting    string
}{
	{"Blocked request. This host", "angular.json", "Angular's development server", "`allowedHosts` under the `serve` target in angular.json"},
	{"Blocked request. This host", "preview.allowedHosts", "Vite's preview server", "`preview.allowedHosts` in vite.config"},
	{"Blocked request. This host", "", "Vite", "`server.allowedHosts` in vite.config (Angular: `allowedHosts` of the `serve` target in angular.json)"},
	{"Invalid Host header", "", "webpack-dev-server", "`devServer.allowedHosts` in the webpack configuration"},
	{"Blocked host", "config.hosts", "Rails", "`config.hosts` in config/environments/development.rb"},
	{"Blocked hosts:", "", "Rails", "`config.hosts` in config/environments/development.rb"},
	{"Invalid HTTP_HOST header", "", "Django", "`ALLOWED_HOSTS` in the settings"},
}

// look looks for a refusal of the Host in the front of an answer's body. The caller
// holds w.mu.
func (w *watch) look(e *Exchange, b []byte) {
	e.probe = append(e.probe, b[:min(len(b), maxProbe-len(e.probe))]...)
	if e.Hint = hostHint(e.probe); e.Hint != "" {
		w.tap.hinted.Store(true)
	}
	if e.Hint != "" || len(e.probe) == maxProbe {
		e.probe = nil
	}
}

func hostHint(body []byte) string {
	for _, check := range hostChecks {
		if bytes.Contains(body, []byte(check.says)) && bytes.Contains(body, []byte(check.also)) {
			return check.tool + " refuses names that it does not know: start expose with `--host-header localhost`, or name the tunnel's host in " + check.setting
		}
	}
	return ""
}
