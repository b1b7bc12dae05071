package sshclient

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

var errWrong = errors.New("wrong")

// takesPassword lets in whoever says "right".
func takesPassword(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	if string(password) != "right" {
		return nil, errWrong
	}
	return nil, nil
}

// takesAnswers lets in whoever answers all questions of all rounds in upper case.
func takesAnswers(rounds ...[]string) func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	return func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		for _, questions := range rounds {
			answers, err := ask("the name", "the instruction", questions, make([]bool, len(questions)))
			if err != nil {
				return nil, err
			}
			for i, answer := range answers {
				if answer != strings.ToUpper(questions[i]) {
					return nil, errWrong
				}
			}
		}
		return nil, nil
	}
}

func TestPasswordIsUsed(t *testing.T) {
	h := &testHooks{}
	o := options()
	o.Password = "right"
	conn := serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword, BannerCallback: func(ssh.ConnMetadata) string { return "wel\x1b[2Jcome\r\n" }})
	c, err := connectTo(t, conn, o, h)
	if err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t)
	if want := []string{"wel[2Jcome\n"}; !reflect.DeepEqual(h.banners, want) {
		t.Errorf("banners %q, want %q", h.banners, want)
	}
	if want := []string{StepVersion, StepKeyExchange, StepAuthentication, StepReady}; !reflect.DeepEqual(h.steps, want) {
		t.Errorf("steps %q, want %q", h.steps, want)
	}
	if _, err := c.Dial(t.Context(), "inside", 80); err == nil {
		t.Error("the server opens nothing, and a connection was opened")
	} else {
		expectCode(t, err, CodeNetwork, "does not allow", "nothing[31m here")
	}
	c.Close()
	if end := c.End(); end.Reason != CodeClosed {
		t.Errorf("ended by %+v", end)
	}
}

func TestPasswordIsAskedForAgain(t *testing.T) {
	h := &testHooks{answers: [][]string{{"wrong too"}, {"right"}}}
	o := options()
	o.Password = "wrong"
	if _, err := connectTo(t, serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword}), o, h); err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t, KindPassword+"!", KindPassword+"!!")
}

func TestWrongPasswordEnds(t *testing.T) {
	h := &testHooks{answers: [][]string{{"1"}, {"2"}, {"3"}, {"right"}}}
	_, err := connectTo(t, serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword}), options(), h)
	expectCode(t, err, CodeAuth, "me", "wrong")
	h.expectKinds(t, KindPassword, KindPassword+"!", KindPassword+"!!")
}

// Whoever has chosen a key is told why a password is asked for.
func TestRefusedKeysAreTold(t *testing.T) {
	var keys []Key
	var prints []string
	for range 2 {
		key, err := GenerateKey("", "")
		if err != nil {
			t.Fatal(err)
		}
		keys, prints = append(keys, Key{PrivateKey: key.Private}), append(prints, key.Fingerprint)
	}
	refusing := func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errWrong }
	for _, test := range []struct {
		name   string
		keys   []Key
		config ssh.ServerConfig
		want   string
	}{
		{"one", keys[:1], ssh.ServerConfig{PublicKeyCallback: refusing, PasswordCallback: takesPassword}, "host.example has not taken the key " + prints[0] + " for me."},
		{"two", keys, ssh.ServerConfig{PublicKeyCallback: refusing, PasswordCallback: takesPassword}, "host.example has taken none of the 2 keys for me."},
		{"no keys there", keys[:1], ssh.ServerConfig{PasswordCallback: takesPassword}, "host.example takes no keys."},
		{"no keys here", nil, ssh.ServerConfig{PublicKeyCallback: refusing, PasswordCallback: takesPassword}, ""},
		{"questions", keys[:1], ssh.ServerConfig{PublicKeyCallback: refusing, KeyboardInteractiveCallback: takesAnswers([]string{"right"})}, "host.example has not taken the key " + prints[0] + " for me."},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &testHooks{answers: [][]string{{"wrong"}, {"RIGHT"}, {"right"}}}
			o := options()
			o.Keys = test.keys
			_, _ = connectTo(t, serve(t, &test.config), o, h)
			for _, q := range h.asked {
				if q.Note != test.want {
					t.Errorf("the note is %q, not %q", q.Note, test.want)
				}
			}
			if len(h.asked) < 2 {
				t.Errorf("%d questions", len(h.asked))
			}
		})
	}
	// A key that was right, and not enough, has not been refused.
	h := &testHooks{answers: [][]string{{"right"}}}
	o := options()
	o.Keys = keys[:1]
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PasswordCallback: takesPassword}}
	}}
	if _, err := connectTo(t, serve(t, config), o, h); err != nil {
		t.Fatal(err)
	}
	if len(h.asked) != 1 || h.asked[0].Note != "" {
		t.Errorf("asked %+v", h.asked)
	}
}

func TestGivingUpEnds(t *testing.T) {
	h := &testHooks{answers: [][]string{nil}}
	_, err := connectTo(t, serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword}), options(), h)
	expectCode(t, err, CodeCancelled)
}

func TestNoWayIn(t *testing.T) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errWrong }}
	_, err := connectTo(t, serve(t, config), options(), &testHooks{})
	expectCode(t, err, CodeAuth, "publickey", "No key was given")
}

func TestQuestionsOfServer(t *testing.T) {
	h := &testHooks{answers: [][]string{{"USER\u202e CODE", "TOKEN"}, {"wrong", "TOKEN"}, {"CODE", "TOKEN"}, {"AGAIN"}}}
	config := &ssh.ServerConfig{KeyboardInteractiveCallback: takesAnswers([]string{"code", "token"}, nil, []string{"again"})}
	if _, err := connectTo(t, serve(t, config), options(), h); err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t, KindKeyboardInteractive, KindKeyboardInteractive+"!", KindKeyboardInteractive+"!!", KindKeyboardInteractive+"!!")
	want := Question{
		Kind: KindKeyboardInteractive, Host: "host.example", User: "me", Name: "the name", Instruction: "the instruction",
		Prompts: []Prompt{{"code", false}, {"token", false}}, Attempt: 1,
	}
	if !reflect.DeepEqual(h.asked[0], want) {
		t.Errorf("asked %+v, want %+v", h.asked[0], want)
	}
}

// PAM asks for the password this way, and then for a code, which the password must not answer.
func TestPasswordAnswersAServerThatAsksForIt(t *testing.T) {
	h := &testHooks{answers: [][]string{{"VERIFICATION CODE: "}}}
	o := options()
	o.Password = "PASSWORD: "
	config := &ssh.ServerConfig{KeyboardInteractiveCallback: takesAnswers([]string{"Password: "}, []string{"Verification code: "})}
	if _, err := connectTo(t, serve(t, config), o, h); err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t, KindKeyboardInteractive)

	h = &testHooks{answers: [][]string{{"VERIFICATION CODE: "}}}
	config = &ssh.ServerConfig{KeyboardInteractiveCallback: takesAnswers([]string{"Verification code: "})}
	if _, err := connectTo(t, serve(t, config), o, h); err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t, KindKeyboardInteractive)
}

func TestPasswordAndCode(t *testing.T) {
	h := &testHooks{answers: [][]string{{"CODE"}}}
	o := options()
	o.Password = "right"
	config := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if _, err := takesPassword(c, password); err != nil {
			return nil, err
		}
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: takesAnswers([]string{"code"})}}
	}}
	if _, err := connectTo(t, serve(t, config), o, h); err != nil {
		t.Fatal(err)
	}
	h.expectKinds(t, KindKeyboardInteractive)
}

func TestTooManyQuestions(t *testing.T) {
	config := &ssh.ServerConfig{KeyboardInteractiveCallback: takesAnswers(make([]string, maxPrompts+1))}
	_, err := connectTo(t, serve(t, config), options(), &testHooks{})
	expectCode(t, err, CodeProtocol, "questions")

	config = &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		for {
			if _, err := ask("", "", nil, nil); err != nil {
				return nil, err
			}
		}
	}}
	_, err = connectTo(t, serve(t, config), options(), &testHooks{})
	expectCode(t, err, CodeProtocol, "questions")
}

// A person who is asked on a dead connection must not be asked further.
func TestConnectionEndsWhileAsking(t *testing.T) {
	conn := serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword})
	h := &testHooks{answers: [][]string{{"wrong"}, {"right"}}}
	h.onAsk = func(ctx context.Context) {
		conn.(*net.TCPConn).CloseRead()
		conn.Close()
		select {
		case <-ctx.Done():
		case <-t.Context().Done():
			t.Error("the question was not called off")
		}
	}
	_, err := connectTo(t, conn, options(), h)
	expectCode(t, err, CodeNetwork, "during the login")
	h.expectKinds(t, KindPassword)
}

func TestCallingOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &testHooks{decision: Once, onAsk: func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	}}
	_, err := Connect(ctx, serve(t, &ssh.ServerConfig{PasswordCallback: takesPassword}), options(), h)
	expectCode(t, err, CodeCancelled)
}

func TestNoSSH(t *testing.T) {
	for _, test := range []struct {
		name, says string
		code       Code
		words      string
	}{
		{"nothing", "", CodeNetwork, "before an SSH server answered"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", CodeNetwork, ""},
		{"half", "SSH-2.0-half\r\n", CodeNetwork, "during the login"},
		{"nonsense", "SSH-2.0-x\r\n\x00\x00\x00\x0c\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", CodeProtocol, "did not speak SSH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := accept(t, func(conn net.Conn) {
				_, _ = conn.Write([]byte(test.says))
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = conn.Read(make([]byte, 1024))
			})
			_, err := connectTo(t, conn, options(), &testHooks{})
			expectCode(t, err, test.code, test.words)
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{}, {Host: "h", Port: 22}, {Host: "h", User: "u"}, {Host: "h", User: "u", Port: 70000}} {
		ours, theirs := net.Pipe()
		_, err := Connect(t.Context(), ours, o, &testHooks{})
		expectCode(t, err, CodeFailed)
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Error("the connection was not closed")
		}
	}
}

func TestBannersAreBounded(t *testing.T) {
	h := &testHooks{answers: [][]string{{"wrong"}, {"wrong"}, {"right"}}}
	config := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		for range maxBanners {
			if err := c.(ssh.ServerPreAuthConn).SendAuthBanner(strings.Repeat("x", maxText+1)); err != nil {
				return nil, err
			}
		}
		return takesPassword(c, password)
	}}
	if _, err := connectTo(t, serve(t, config), options(), h); err != nil {
		t.Fatal(err)
	}
	if len(h.banners) != maxBanners {
		t.Errorf("%d banners were shown, want %d", len(h.banners), maxBanners)
	}
	for _, banner := range h.banners {
		if len(banner) > maxText+len("…") {
			t.Errorf("a banner has %d bytes", len(banner))
		}
	}
}

func TestJumpsAreBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	o := options()
	for range maxJumps + 1 {
		next := o
		o.Jump = &next
	}
	_, err := Connect(t.Context(), ours, o, &testHooks{})
	expectCode(t, err, CodeFailed, "jump hosts")
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the connection was not closed")
	}
}
