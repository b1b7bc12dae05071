package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are what a command has of the process that runs it.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Environ is like os.Environ's.
	Environ []string
}

// Getenv returns what a variable is set to, without the blanks around it, "" if it
// is not set. Of a name that is there twice the first counts, as for os.Getenv.
func (s Streams) Getenv(name string) string {
	for _, pair := range s.Environ {
		if key, text, _ := strings.Cut(pair, "="); key == name {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// A Colour is how a terminal is told to write from here on (ECMA-48, SGR).
type Colour string

// The colours that commands use.
const (
	Red    Colour = "\x1b[31m"
	Yellow Colour = "\x1b[33m"
	Green  Colour = "\x1b[32m"
	Bold   Colour = "\x1b[1m"
	plain  Colour = "\x1b[0m"
)

// Paint returns text in a colour, if w, which is Out or Err, shows colours.
func (s Streams) Paint(w io.Writer, c Colour, text string) string {
	if !s.Colours(w) {
		return text
	}
	return string(c) + text + string(plain)
}

// Colours reports whether w shows colours: it is a terminal, and its user has not
// said no (https://no-color.org).
func (s Streams) Colours(w io.Writer) bool {
	return s.wantsColours() && Terminal(w) != nil
}

func (s Streams) wantsColours() bool {
	return s.Getenv("NO_COLOR") == "" && s.Getenv("TERM") != "dumb"
}

// Terminal returns an input or an output that is a terminal, and nil if it is none.
func Terminal(stream any) *os.File {
	file, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}
