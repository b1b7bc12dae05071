package sshclient

import (
	"context"
	"net"
	"strconv"
	"time"

	"wsproxy/page/sshclient/webauthn"
)

// Options say where to log in, as whom and how.
type Options struct {
	// Host and Port name the server as known_hosts does. Nobody is dialed by them but
	// from a jump host.
	Host string
	Port int
	User string
	// Password is used before any is asked for; empty for none.
	Password string
	// Keys are offered in this order, before any password.
	Keys []Key
	// SecurityKeys are offered after Keys.
	SecurityKeys []SecurityKey
	// KnownHosts is what is known of servers, in the format of OpenSSH's known_hosts.
	// Lines that can't be read are passed over.
	KnownHosts string
	// AgentForward lets programs of the server sign with Keys, while the connection lasts.
	AgentForward bool
	// Jump is the server from which this one is reached, or nil. The connection leads to the
	// outermost one.
	Jump *Options
	// KeepAlive is the time of silence after which the server is asked whether it is still there.
	// Zero means never. See [Client.SetAway].
	KeepAlive time.Duration
}

// address is how the server is called in known_hosts: with its port.
func (o *Options) address() string {
	return net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
}

// A Key is a private key that the user has.
type Key struct {
	// PrivateKey is the key in OpenSSH's format or as PEM.
	PrivateKey string
	// Passphrase decrypts PrivateKey. When it is missing, it is asked for when the server would take
	// the key, or before where the key doesn't tell its public half.
	Passphrase string
	// Certificate is an OpenSSH user certificate for the key, or empty.
	Certificate string
}

// A SecurityKey is a key that a browser's WebAuthn signs with.
type SecurityKey struct {
	PublicKey    string // a line of authorized_keys
	Application  string // the relying party's id
	CredentialID string // as [Hooks.SignWebAuthn] takes it
}

// Kinds of questions.
const (
	KindPassword            = "password"
	KindKeyboardInteractive = "keyboard-interactive"
	KindPassphrase          = "passphrase"
)

// A Question is one that a person must answer. Its texts can be shown as they are.
type Question struct {
	Kind        string
	Host, User  string
	Name        string // of what is asked for: the server's title, or a key's name
	Instruction string
	Prompts     []Prompt
	Attempt     int    // from 1
	Note        string // a sentence about keys that have come to nothing before, or empty
}

// A Prompt is one line of a question.
type Prompt struct {
	Text string
	Echo bool // whether the answer may be seen while it is typed
}

// States of a host key.
const (
	HostKeyNew     = "new"
	HostKeyChanged = "changed"
	HostKeyRevoked = "revoked"
)

// A HostKeyQuestion is whether a server is the one that it should be.
type HostKeyQuestion struct {
	State          string
	Host           string
	Port           int
	Type           string // of the key
	Fingerprint    string // SHA256:...
	KnownHostsLine string // by which the key would be known
	Known          []KnownKey
	Note           string // a sentence about a certificate that didn't do, or empty
}

// A KnownKey is one under which the server has been known so far.
type KnownKey struct{ Type, Fingerprint string }

// A Decision answers a [HostKeyQuestion].
type Decision string

// Decisions. For a changed or a revoked key all of them mean Refuse: the line must be removed from
// KnownHosts first.
const (
	Refuse   Decision = "refuse"
	Once     Decision = "once"
	Remember Decision = "remember"
)

// A WebAuthnQuestion asks for an assertion.
type WebAuthnQuestion struct {
	Application  string
	CredentialID string
	Challenge    []byte
}

// A WebAuthnAnswer is the assertion, as navigator.credentials.get returns it.
type WebAuthnAnswer = webauthn.Assertion

// Steps of a login.
const (
	StepVersion        = "version"
	StepKeyExchange    = "keyexchange"
	StepAuthentication = "authentication"
	StepReady          = "ready"
)

// Hooks are what a connection asks and tells. Those with a context return when it ends, at the latest.
// They are called one at a time, apart from Ask for a forwarded agent's keys, and Remember.
type Hooks interface {
	// Ask returns one answer for each prompt, or nil when the person gives up. An error is as good as that.
	Ask(ctx context.Context, q Question) ([]string, error)
	HostKey(ctx context.Context, q HostKeyQuestion) (Decision, error)
	// Remember tells a line to add to known_hosts.
	Remember(line string)
	SignWebAuthn(ctx context.Context, q WebAuthnQuestion) (WebAuthnAnswer, error)
	// Banner tells what the server says to all who log in.
	Banner(text string)
	Step(step, host string)
}
