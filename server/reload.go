package server

import (
	"log/slog"
	"os"
	"strings"

	"wsproxy/actors/limits"
	"wsproxy/actors/sessions"
	"wsproxy/auth"
	"wsproxy/config"
)

// oneLine makes one sentence of an error of several lines, the first of which may
// introduce the others.
var oneLine = strings.NewReplacer(":\n", ": ", "\n", "; ")

// A reloader changes a server that runs to what its configuration says now. Its
// goroutine owns it.
type reloader struct {
	service *service
	level   *slog.LevelVar
	env     config.Environment // that holds
}

// run does so for each signal, one after the other, until the server has ended. Whatever
// is wrong, the server goes on.
func (r *reloader) run(signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			r.reload()
		case <-r.service.stop:
			return
		}
	}
}

// reload reads the configuration again. What of it can't be read changes nothing at all.
func (r *reloader) reload() {
	s := r.service
	wanted, err := r.env.Again()
	var next config.Config
	var effective []string
	var changes []config.Change
	if err == nil {
		next, effective, changes, err = config.Reload(r.env.Pairs, wanted.Pairs)
	}
	if err != nil {
		s.log.Error("the configuration can't be read again: all settings stay as they are", "error", oneLine.Replace(err.Error()))
		return
	}
	wanted.Pairs = effective
	r.env = wanted
	s.apply(next)
	r.level.Set(min(r.level.Level(), next.LogLevel)) // what changes is told at the one level or the other
	defer r.level.Set(next.LogLevel)
	settings := next.Settings(effective)
	s.settings.Store(&settings)
	changed, refused := 0, 0
	for _, c := range changes {
		if c.Refused {
			refused++
			s.log.Warn("a setting can't change while the server runs: restart it for that", "setting", c.Name, "holds", c.Old, "wanted", c.New)
			continue
		}
		changed++
		s.log.Info("a setting has changed", "setting", c.Name, "old", c.Old, "new", c.New)
	}
	warnOfFile(s.log, wanted)
	warnOfLookalikes(s.log, next)
	s.log.Info("the configuration was read again", "changed", changed, "refused", refused)
}

// apply has another configuration hold, as far as a server that runs can change. Sessions
// that there are go on as they began.
func (s *service) apply(c config.Config) {
	s.holds.Store(&c)
	s.policy.Replace(targetsOf(c))
	s.sources.Replace(c.Sources())
	s.bandwidth.Change(c.MaxBytesPerSecondPerUser)
	s.edge.Change(c.AllowedOrigins, c.MaxHTTPConnsPerIP, c.MaxHTTPConns, c.EndWithToken)
	s.system.Root.Send(s.limits, &limits.Rebound{Bounds: boundsOf(c)})
	for _, owner := range s.owners {
		s.system.Root.Send(owner, &sessions.AgeBound{Most: c.MaxSessionAge})
	}
	if s.tunnels != nil {
		bounds := tunnelBoundsOf(c)
		s.system.Root.Send(s.tunnels, &bounds)
	}
	if s.certs != nil {
		s.certs.Reload()
	}
	if s.verifier != nil {
		if err := s.verifier.Replace(auth.Config{Issuer: c.JWTIssuer, Audience: c.JWTAudience, AuthorizedParties: c.JWTAuthorizedParties}); err != nil {
			s.log.Error("tokens are held to the claims of before", "error", err) // config reads no such list
		}
		s.verifier.Refresh()
	}
}

// warnOfFile says what of the file of settings has no effect.
func warnOfFile(log *slog.Logger, env config.Environment) {
	for _, name := range env.Unknown {
		log.Warn("a setting of CONFIG_FILE has no effect: nobody reads it", "setting", name)
	}
	for _, l := range env.Misspelled {
		log.Warn("a setting of CONFIG_FILE has no effect: its name looks like one of wsproxy's, but is none", "setting", l.Name, "looks_like", l.Meant)
	}
	for _, name := range env.Shadowed {
		log.Warn("a setting of CONFIG_FILE has no effect: the environment sets it, and comes first", "setting", name)
	}
}

// warnOfLookalikes says which variables somebody may believe to have an effect.
func warnOfLookalikes(log *slog.Logger, c config.Config) {
	for _, l := range c.Lookalikes {
		log.Warn("an environment variable has no effect: its name looks like one of wsproxy's, but is none", "variable", l.Name, "looks_like", l.Meant)
	}
}
