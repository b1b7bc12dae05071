//go:build js

package main

import (
	"context"
	"syscall/js"

	"wsproxy/page/sshclient"
)

// hooks are the functions of GoHooks.
type hooks struct{ js.Value }

func (h hooks) Ask(ctx context.Context, q sshclient.Question) ([]string, error) {
	prompts := make([]any, len(q.Prompts))
	for i, prompt := range q.Prompts {
		prompts[i] = map[string]any{"text": prompt.Text, "echo": prompt.Echo}
	}
	value, err := call(ctx, h.Value, "ask", map[string]any{
		"kind": q.Kind, "host": q.Host, "user": q.User, "name": q.Name,
		"instruction": q.Instruction, "prompts": prompts, "attempt": q.Attempt, "note": q.Note,
	})
	if err != nil || !value.InstanceOf(arrayClass) {
		return nil, err
	}
	answers := make([]string, value.Length())
	for i := range answers {
		if answer := value.Index(i); answer.Type() == js.TypeString {
			answers[i] = answer.String()
		}
	}
	return answers, nil
}

func (h hooks) HostKey(ctx context.Context, q sshclient.HostKeyQuestion) (sshclient.Decision, error) {
	known := make([]any, len(q.Known))
	for i, key := range q.Known {
		known[i] = map[string]any{"type": key.Type, "fingerprint": key.Fingerprint}
	}
	value, err := call(ctx, h.Value, "hostKey", map[string]any{
		"state": q.State, "host": q.Host, "port": q.Port, "type": q.Type, "fingerprint": q.Fingerprint,
		"knownHostsLine": q.KnownHostsLine, "known": known, "note": q.Note,
	})
	if err != nil || value.Type() != js.TypeString {
		return sshclient.Refuse, err
	}
	return sshclient.Decision(value.String()), nil
}

func (h hooks) SignWebAuthn(ctx context.Context, q sshclient.WebAuthnQuestion) (sshclient.WebAuthnAnswer, error) {
	var answer sshclient.WebAuthnAnswer
	value, err := call(ctx, h.Value, "signWebAuthn", map[string]any{
		"application": q.Application, "credentialId": q.CredentialID, "challenge": toJS(q.Challenge),
	})
	if err != nil {
		return answer, err
	}
	if value.Type() != js.TypeObject {
		return answer, errNoBytes
	}
	for name, field := range map[string]*[]byte{
		"authenticatorData": &answer.AuthenticatorData,
		"clientDataJSON":    &answer.ClientDataJSON,
		"signature":         &answer.Signature,
	} {
		data := value.Get(name)
		if data.InstanceOf(js.Global().Get("ArrayBuffer")) { // as WebAuthn returns them
			data = bytesClass.New(data)
		}
		if *field, err = toGo(data); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

func (h hooks) Remember(line string)   { h.tell("remember", line) }
func (h hooks) Banner(text string)     { h.tell("banner", text) }
func (h hooks) Step(step, host string) { h.tell("step", step, host) }

// tell calls a hook whose failure changes nothing.
func (h hooks) tell(name string, args ...any) {
	_, _ = guarded(func() (any, error) {
		if h.Get(name).Type() == js.TypeFunction {
			h.Call(name, args...)
		}
		return nil, nil
	})
}
