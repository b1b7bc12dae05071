package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"wsproxy/command/cli"
)

// The variables that are read. A flag of the same meaning goes before.
const (
	urlVariable          = "WSPROXY_URL"
	tokenVariable        = "WSPROXY_TOKEN"
	tokenCommandVariable = "WSPROXY_TOKEN_COMMAND"
)

// About tells of the variables, for the page of a command that has these flags.
const About = `URL is the server's, such as wss://proxy.example.com; it may be left out if WSPROXY_URL has it.
The token is that of --token-file, --token-command, WSPROXY_TOKEN or WSPROXY_TOKEN_COMMAND, the
first of them that is given. A file is read, and a command run by the shell, at each connect; the
first line is the token. Without any there is no token. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are
honoured, and NO_COLOR.`

// Flags are the flags of a command that is a client. The zero value is ready for
// Declare.
type Flags struct {
	TokenFile    string
	TokenCommand string
	CA           string // file with certificates in PEM; "" = those that the system trusts
	Insecure     bool
	NoResume     bool
	Verbose      bool // has no flag here: not every command has more to tell
}

// Declare declares the flags.
func (f *Flags) Declare(flags *pflag.FlagSet) {
	flags.StringVar(&f.TokenFile, "token-file", "", "`file` whose first line is the token")
	flags.StringVar(&f.TokenCommand, "token-command", "", "`command` that prints the token, run at each connect")
	flags.StringVar(&f.CA, "ca", "", "`file` with the only certificates (PEM) that the server's may be signed by")
	flags.BoolVar(&f.Insecure, "insecure", false, "don't check who the server is")
	flags.BoolVar(&f.NoResume, "no-resume", false, "end with the WebSocket instead of going on with another one")
}

// A Server is how a server is reached. Its fields are those of the client's options.
type Server struct {
	// URL begins with ws, wss, http or https and may have a path.
	URL string
	// Token is asked at each connect; nil = there is none.
	Token func(ctx context.Context) (string, error)
	// TLS is nil for what the system trusts.
	TLS *tls.Config
	// NoResume has a session end with its WebSocket.
	NoResume bool
	// Verbose has the command tell more.
	Verbose bool
}

// Resolve makes a Server of the flags, of the arguments behind them and of the
// environment, and returns the arguments that are left when the URL is taken. Files
// that are needed only once are read now. With --insecure it says so on s.Err. Its
// errors are those of who has typed them.
func (f *Flags) Resolve(args []string, s cli.Streams) (Server, []string, error) {
	address, args, err := f.address(args, s)
	if err != nil {
		return Server{}, nil, err
	}
	token, err := f.token(s)
	if err != nil {
		return Server{}, nil, err
	}
	trust, err := f.trust()
	if err != nil {
		return Server{}, nil, err
	}
	if f.Insecure {
		fmt.Fprintln(s.Err, s.Paint(s.Err, cli.Red,
			"wsproxy: --insecure: nobody is checked. Whoever is on the way can read the token and all that passes, and change it"))
	}
	return Server{URL: address, Token: token, TLS: trust, NoResume: f.NoResume, Verbose: f.Verbose}, args, nil
}

// address takes the URL off the arguments, or from the environment. Something that
// begins like a server's URL is one, whatever the environment says.
func (f *Flags) address(args []string, s cli.Streams) (string, []string, error) {
	given := s.Getenv(urlVariable)
	from := urlVariable
	if len(args) > 0 && (given == "" || hasScheme(args[0])) {
		given, args, from = args[0], args[1:], "the URL"
	}
	if given == "" {
		return "", nil, cli.Misuse("the server's URL is missing: give it, such as wss://proxy.example.com, or set %s", urlVariable)
	}
	if from == "the URL" && !hasScheme(given) {
		return "", nil, cli.Misuse("the server's URL comes first and must begin with wss://, ws://, https:// or http://; or set %s", urlVariable)
	}
	if err := checkURL(given); err != nil {
		return "", nil, cli.Misuse("%s can't be used: %w", from, err)
	}
	return given, args, nil
}

var schemes = []string{"wss", "ws", "https", "http"}

func hasScheme(text string) bool {
	for _, scheme := range schemes {
		if len(text) > len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) && strings.HasPrefix(text[len(scheme):], "://") {
			return true
		}
	}
	return false
}

// checkURL doesn't repeat what it is given, which may have a secret in it.
func checkURL(raw string) error {
	if !hasScheme(raw) {
		return errors.New("it must begin with wss://, ws://, https:// or http://")
	}
	parsed, err := url.Parse(raw)
	switch {
	case err != nil:
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return err
	case parsed.Hostname() == "":
		return errors.New("it has no host")
	case parsed.User != nil:
		return errors.New("it has a user or a password in it, which wsproxy knows nothing of; give a token by --token-file, --token-command or the environment")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		return errors.New("it has a query or a fragment; give a token by --token-file, --token-command or the environment")
	}
	return nil
}
