package check

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
	"wsproxy/config"
)

// Command judges the environment.
var Command = cli.Command{
	Name:    "check",
	Summary: "print what a server would make of this environment, and what of it is dangerous",
	About: `It prints each variable with what holds, * before those that are set, and then warnings of what is
dangerous or looks misspelled, and notes of what is worth a thought. Secrets are not shown. Run it
where the server is to run: memory and files are looked at too. Nothing is asked of the network.

Exit status: 0, 1 if there are warnings, 2 if the environment can't be read.`,
	Examples: []cli.Example{
		{Says: "before the server starts with this environment", Line: "wsproxy check"},
		{Says: "with the settings of a file", Line: "CONFIG_FILE=/etc/wsproxy/wsproxy.conf wsproxy check"},
		{Says: "in a pipeline, where a long drain is meant", Line: "wsproxy check --json --accept SHUTDOWN_TIMEOUT"},
	},
	New: func(flags *pflag.FlagSet) cli.Action {
		var k checker
		flags.BoolVar(&k.json, "json", false, "print one JSON object")
		flags.StringSliceVar(&k.accept, "accept", nil, "`variables` whose warnings are known and meant: they become notes")
		k.machine = machine{files: os.DirFS("/")}
		return k.run
	},
}

type checker struct {
	json    bool
	accept  []string
	machine machine
}

// A finding is one sentence about one variable.
type finding struct {
	Variable string `json:"variable"`
	Text     string `json:"text"`
}

// A setting is a variable as the report shows it.
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Set   bool   `json:"set"`
}

// A report is all that is found.
type report struct {
	Status   int       `json:"status"` // the exit status
	Errors   []string  `json:"errors"`
	Warnings []finding `json:"warnings"`
	Notes    []finding `json:"notes"`
	Settings []setting `json:"settings"`
}

func (k *checker) run(_ context.Context, args []string, s cli.Streams) error {
	if len(args) > 0 {
		return cli.Misuse("%q is too much: it takes flags only", args[0])
	}
	found, err := k.judge(s.Environ)
	if err != nil {
		return err
	}
	switch {
	case k.json:
		encoder := json.NewEncoder(s.Out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(found); err != nil {
			return err
		}
	case len(found.Errors) > 0:
		return &cli.Exit{Status: found.Status, Err: fmt.Errorf("the configuration can't be read:\n%s", strings.Join(found.Errors, "\n"))}
	default:
		found.write(s)
	}
	if found.Status != cli.StatusOK {
		return &cli.Exit{Status: found.Status}
	}
	return nil
}

// judge returns an error only for what was typed wrongly.
func (k *checker) judge(environ []string) (report, error) {
	found := report{Errors: []string{}, Warnings: []finding{}, Notes: []finding{}, Settings: []setting{}}
	env, err := config.ReadEnvironment(environ)
	var c config.Config
	if err == nil {
		environ = env.Pairs
		c, err = config.Load(environ)
	}
	if err != nil {
		found.Status = cli.StatusUsage
		found.Errors = strings.Split(err.Error(), "\n")
		return found, nil
	}
	v := view{Config: c, file: env, environ: cli.Streams{Environ: environ}, machine: k.machine}
	known := []string{"GOMEMLIMIT"} // which is Go's
	for _, s := range c.Settings(environ) {
		found.Settings = append(found.Settings, setting(s))
		known = append(known, s.Name)
	}
	for _, rule := range rules {
		warnings, notes := rule(v)
		found.Warnings = append(found.Warnings, warnings...)
		found.Notes = append(found.Notes, notes...)
	}
	if err := found.accept(k.accept, known); err != nil {
		return report{}, err
	}
	if len(found.Warnings) > 0 {
		found.Status = cli.StatusFailed
	}
	return found, nil
}

// accept turns warnings into notes.
func (r *report) accept(accepted, known []string) error {
	for _, name := range accepted {
		isAbout := func(f finding) bool { return f.Variable == name }
		if !slices.Contains(known, name) && !slices.ContainsFunc(r.Warnings, isAbout) {
			return cli.Misuse("--accept %q is no variable that there is a warning of", name)
		}
		for _, warning := range r.Warnings {
			if isAbout(warning) {
				r.Notes = append(r.Notes, finding{name, "accepted: " + warning.Text})
			}
		}
		r.Warnings = slices.DeleteFunc(r.Warnings, isAbout)
	}
	return nil
}
