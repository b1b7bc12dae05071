package sshclient

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxAsked is how often a person is asked for a password, or by the server, before
// the login is given up. OpenSSH's client does the same.
const maxAsked = 3

// methodPublicKey is RFC 4252's name of logging in by a key.
const methodPublicKey = "publickey"

// A login chooses how to authenticate, one method after the other. x/crypto calls it from
// one goroutine.
type login struct {
	ctx     context.Context
	caller  context.Context // ends when the login is called off
	later   context.Context // ends with the connection, for questions after the login
	o       *Options
	hooks   Hooks
	conn    *watchedConn
	keys    []*privateKey
	offers  []ssh.Signer // that the server hasn't seen yet
	started bool
	allowed []string // that the server takes now

	passed       int  // methods that were right, and not enough
	asked        int  // times since then
	passwordUsed bool // the password of the options
	noQuestions  bool // keyboard-interactive has come to nothing without a question
	questioned   bool // the last method has asked something
	last         string
	offered      string   // fingerprint of the key that the last method has offered, or empty
	refusedKeys  []string // fingerprints of those that the server has seen and not taken
	banners      int
	failed       *Error // which ends the login
	keyFault     *Error // the last of a key that could not be used
}

func newLogin(ctx, caller context.Context, o *Options, hooks Hooks, conn *watchedConn) *login {
	return &login{ctx: ctx, caller: caller, o: o, hooks: hooks, conn: conn}
}

// explain puts what the login knows of a failure before what x/crypto says.
func (l *login) explain(err error) error {
	if l.failed != nil {
		return l.failed
	}
	if l.caller.Err() != nil {
		return failure(CodeCancelled, err, "The login to %s was called off.", l.o.Host)
	}
	return err
}

// fail ends the login with err. A lost connection goes before what comes of it.
func (l *login) fail(err *Error) *Error {
	if l.failed == nil && l.conn.lost() == nil && l.caller.Err() == nil {
		l.failed = err
	}
	return err
}

func (l *login) banner(text string) error {
	if l.banners++; l.banners <= maxBanners {
		l.hooks.Banner(Printable(text, maxText))
	}
	return nil
}

// next is an ssh.ClientAuthCallback.
func (l *login) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if err := l.conn.lost(); err != nil {
		return nil, err
	}
	if l.caller.Err() != nil {
		return nil, l.caller.Err()
	}
	if !l.started {
		l.started = true
		if err := l.prepare(); err != nil {
			return nil, l.fail(err)
		}
	}
	if len(c.PartialSuccessMethods) > l.passed {
		l.passed, l.asked, l.noQuestions = len(c.PartialSuccessMethods), 0, false
	} else if l.last == KindKeyboardInteractive && !l.questioned {
		l.noQuestions = true
	} else if l.last == methodPublicKey && l.offered != "" {
		l.refusedKeys = append(l.refusedKeys, l.offered)
	}
	l.offered = ""
	l.allowed = c.AllowedMethods
	method, name := l.choose()
	l.last, l.questioned = name, false
	if method == nil {
		return nil, l.fail(l.refused())
	}
	return method, nil
}

// choose returns the next method, or nil when there is none left.
func (l *login) choose() (ssh.AuthMethod, string) {
	may := func(method string) bool { return slices.Contains(l.allowed, method) }
	if may(methodPublicKey) && len(l.offers) > 0 {
		// One at a time: a key that can't sign must not keep the others from being tried.
		signer := l.offers[0]
		l.offers = l.offers[1:]
		return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			ready, err := l.ready(signer)
			if len(ready) > 0 {
				l.offered = ssh.FingerprintSHA256(signer.PublicKey())
			}
			return ready, err
		}), methodPublicKey
	}
	if may(KindPassword) && l.o.Password != "" && !l.passwordUsed {
		l.passwordUsed = true
		l.asked++
		return ssh.Password(l.o.Password), KindPassword
	}
	if l.asked >= maxAsked {
		return nil, ""
	}
	// A person whose password was wrong is asked in the same way again.
	if may(KindKeyboardInteractive) && !l.noQuestions && (l.last != KindPassword || !may(KindPassword)) {
		l.asked++
		return l.keyboardInteractive(), KindKeyboardInteractive
	}
	if may(KindPassword) {
		l.asked++
		return ssh.PasswordCallback(l.askPassword), KindPassword
	}
	return nil, ""
}

// refused says that all has been tried.
func (l *login) refused() *Error {
	if len(l.allowed) == 0 {
		return failure(CodeAuth, nil, "%s has refused the login of %s.", l.o.Host, l.o.User)
	}
	takes := Printable(strings.Join(l.allowed, ", "), maxReason)
	switch {
	case l.keyFault != nil:
		return failure(CodeAuth, l.keyFault, "%s has refused the login of %s. It takes: %s. %s", l.o.Host, l.o.User, takes, l.keyFault.Message)
	case l.asked >= maxAsked:
		return failure(CodeAuth, nil, "%s has refused the login of %s: the password or the answers were wrong.", l.o.Host, l.o.User)
	case slices.Contains(l.allowed, methodPublicKey) && len(l.keys)+len(l.o.SecurityKeys) == 0:
		return failure(CodeAuth, nil, "%s has refused the login of %s. It takes: %s. No key was given.", l.o.Host, l.o.User, takes)
	}
	return failure(CodeAuth, nil, "%s has refused the login of %s. It takes: %s.", l.o.Host, l.o.User, takes)
}

// keysNote says why keys have not let the person in, who is asked for something else now.
func (l *login) keysNote() string {
	switch n := len(l.refusedKeys); {
	case l.keyFault != nil:
		return l.keyFault.Message
	case n == 1:
		return l.o.Host + " has not taken the key " + l.refusedKeys[0] + " for " + l.o.User + "."
	case n > 1:
		return l.o.Host + " has taken none of the " + strconv.Itoa(n) + " keys for " + l.o.User + "."
	case len(l.keys)+len(l.o.SecurityKeys) > 0 && l.passed == 0 && !slices.Contains(l.allowed, methodPublicKey):
		return l.o.Host + " takes no keys."
	}
	return ""
}

// ask asks and checks what is answered.
func (l *login) ask(q Question) ([]string, error) {
	l.questioned = true
	answers, err := ask(l.ctx, l.hooks, l.o, q)
	var own *Error
	if errors.As(err, &own) {
		return nil, l.fail(own)
	}
	return answers, err
}

// ask asks a person. Its errors are of type *Error.
func ask(ctx context.Context, hooks Hooks, o *Options, q Question) ([]string, error) {
	q.Host, q.User = o.Host, o.User
	answers, err := hooks.Ask(ctx, q)
	if err != nil || answers == nil || ctx.Err() != nil {
		return nil, failure(CodeCancelled, err, "The login to %s was given up.", o.Host)
	}
	if len(answers) != len(q.Prompts) {
		return nil, failure(CodeFailed, nil, "%d answers were given to %d questions.", len(answers), len(q.Prompts))
	}
	return answers, nil
}

func (l *login) askPassword() (string, error) {
	answers, err := l.ask(Question{
		Kind:    KindPassword,
		Prompts: []Prompt{{Text: "Password"}},
		Attempt: l.asked, Note: l.keysNote(),
	})
	if err != nil {
		return "", err
	}
	return answers[0], nil
}

// keyboardInteractive answers what the server asks, RFC 4256.
func (l *login) keyboardInteractive() ssh.AuthMethod {
	rounds := 0
	return ssh.KeyboardInteractive(func(name, instruction string, texts []string, echos []bool) ([]string, error) {
		l.questioned = true
		if rounds++; rounds > maxRounds || len(texts) > maxPrompts {
			return nil, l.fail(failure(CodeProtocol, nil, "%s asks more questions than anybody can answer.", l.o.Host))
		}
		name, instruction = Printable(name, maxReason), Printable(instruction, maxText)
		if len(texts) == 0 {
			if text := strings.TrimSpace(name + "\n" + instruction); text != "" {
				return nil, l.banner(text)
			}
			return nil, nil
		}
		if rounds == 1 && !l.passwordUsed && l.o.Password != "" && len(texts) == 1 && !echos[0] && asksForPassword(texts[0]) {
			l.passwordUsed = true
			return []string{l.o.Password}, nil
		}
		q := Question{Kind: KindKeyboardInteractive, Name: name, Instruction: instruction, Attempt: l.asked, Note: l.keysNote()}
		for i, text := range texts {
			q.Prompts = append(q.Prompts, Prompt{Text: Printable(text, maxPrompt), Echo: echos[i]})
		}
		return l.ask(q)
	})
}

// passwordWords are in the prompts of servers that ask for a password, in the languages that PAM
// speaks most. A code must not be answered with the password.
var passwordWords = []string{"pass", "kennwort", "contraseña", "clave", "senha", "hasło", "heslo", "пароль", "wachtwoord", "lösen", "密码", "密碼", "パスワード", "암호"}

func asksForPassword(prompt string) bool {
	prompt = strings.ToLower(prompt)
	if strings.Contains(prompt, "passcode") || strings.Contains(prompt, "one-time") {
		return false
	}
	return slices.ContainsFunc(passwordWords, func(word string) bool { return strings.Contains(prompt, word) })
}
