package expose

import (
	"io"
	"os"

	"golang.org/x/term"

	"wsproxy/command/expose/display"
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
	if out := terminal(s.Out); out != nil {
		o.Width = func() int {
			width, _, err := term.GetSize(int(out.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
		able := obeys(out)
		o.Colours, o.Live = painted && able, !dumb && able
	}
	if errs := terminal(s.Err); errs != nil {
		o.ErrColours = painted && obeys(errs)
	}
	return o
}

// terminal returns a writer that is a terminal, else nil.
func terminal(w io.Writer) *os.File {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}
