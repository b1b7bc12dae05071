package config

import (
	"fmt"
	"reflect"
)

// A Change is a setting that another environment sets to something else.
type Change struct {
	Name string
	// Old and New are for people, as those of a [Setting]: nothing of a secret.
	Old, New string
	// Refused says that a server that runs stays with Old: it can only be changed by
	// a restart.
	Refused bool
}

// Reload judges what a server that runs with one environment makes of another one.
// It returns the configuration that holds then, the environment that says the same, and
// what is different, in the order of --help. Of what can't change while a server runs
// the old setting holds. With an error, which is like that of Load, nothing changes.
func Reload(holds, wanted []string) (Config, []string, []Change, error) {
	old, err := Load(holds)
	if err != nil {
		return Config{}, nil, nil, err // it was loaded before
	}
	next, err := Load(wanted)
	if err != nil {
		return Config{}, nil, nil, err
	}
	was, will := old.Settings(holds), next.Settings(wanted)
	var changes []Change
	var effective []string
	for i := range variables {
		v := &variables[i]
		from := wanted
		if !v.reload {
			from = holds
		}
		if text, set := environment(from).lookup(v.name); set {
			effective = append(effective, v.name+"="+text)
		}
		if v.differs(holds, wanted) && (v.secret || was[i].Value != will[i].Value) {
			changes = append(changes, Change{Name: v.name, Old: was[i].Value, New: will[i].Value, Refused: !v.reload})
		}
	}
	c, err := Load(effective)
	if err != nil {
		return Config{}, nil, nil, fmt.Errorf("together with what only a restart can change: %w", err)
	}
	c.Lookalikes = next.Lookalikes
	return c, effective, changes, nil
}

// differs reports whether a variable means different things in two environments, both
// of which can be read.
func (v *variable) differs(a, b environment) bool {
	one, other := Config{BlockDefault: true}, Config{BlockDefault: true} // as Load begins
	_, _ = v.load(&one, a), v.load(&other, b)
	return !reflect.DeepEqual(one, other)
}

// Reloadable lists the variables that a server that runs can change, in the order of
// --help.
func Reloadable() (names []string) {
	for i := range variables {
		if variables[i].reload {
			names = append(names, variables[i].name)
		}
	}
	return names
}
