package expose

import (
	"os"

	"golang.org/x/term"

	"wsproxy/command/cli"
	"wsproxy/command/expose/display"
	"wsproxy/command/screen"
)

// terminalOptions say what the two writers can show.
func terminalOptions(s Streams) display.Options {
	o := display.Options{Out: s.Out, Err: s.Err}
	getenv := s.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	dumb := getenv("TERM") == "dumb"
	painted := !dumb && getenv("NO_COLOR") == ""
	if out := cli.Terminal(s.Out); out != nil {
		o.Width = func() int {
			width, _, err := term.GetSize(int(out.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
		able := screen.Obeys(out)
		o.Colours, o.Live = painted && able, !dumb && able
	}
	if errs := cli.Terminal(s.Err); errs != nil {
		o.ErrColours = painted && screen.Obeys(errs)
	}
	return o
}
