//go:build !js

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// maxCompressed is the room that the page's first load has for the program, in bytes.
const maxCompressed = 2_250_000

// build builds the program once, as build.mjs does it.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "page-wasm")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "client.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-pgo=off", "-ldflags", "-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs a script of test/ in Node and returns what it says.
func run(t *testing.T, script string, setup map[string]any) map[string]any {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	setup["wasm"] = program(t)
	setup["wasmExec"] = filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")
	argument, err := json.Marshal(setup)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("test", script), string(argument))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("%s complains: %s", script, stderr.String())
	}
	var result map[string]any
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("%s says %q: %v", script, out, err)
	}
	return result
}

// expect compares what a script says under some names.
func expect(t *testing.T, got map[string]any, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
}

type object = map[string]any

func TestProgramIsSmall(t *testing.T) {
	packed, err := exec.CommandContext(t.Context(), "gzip", "-9", "-c", program(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("compressed it has %d bytes", len(packed))
	if len(packed) > maxCompressed {
		t.Errorf("compressed it has %d bytes, at most %d are to be loaded", len(packed), maxCompressed)
	}
}

func TestShell(t *testing.T) {
	s := sshd.Start(t)
	got := run(t, "shell.mjs", object{
		"port": s.Port, "user": s.User, "decision": "remember",
		"options": object{"keys": []object{{"privateKey": s.Key}}},
	})
	expect(t, got, object{
		"shellEnd": object{"status": 7.0}, "late": "This has ended.", "noBytes": "bytes must be a Uint8Array", "bytes": 20_000_000.0, "floodEnd": object{"status": 0.0},
		"pingIsNumber": true, "pendingLeft": 0.0, "ended": object{"reason": "closed", "message": "The connection was closed."},
	})
	seen, _ := got["seen"].(object)
	expect(t, seen, object{
		"steps": []any{"version", "keyexchange", "authentication", "ready"}, "asked": []any{},
		"remembered": []any{strings.TrimSpace(s.KnownHosts())},
	})
}

func TestFiles(t *testing.T) {
	s := sshd.Start(t)
	dir := t.TempDir()
	got := run(t, "files.mjs", object{
		"port": s.Port, "user": s.User, "dir": dir,
		"options": object{"keys": []object{{"privateKey": s.Key}}, "knownHosts": s.KnownHosts()},
	})
	expect(t, got, object{
		"cut": "cancelled", "firstPosition": got["part"], "sameBytes": true, "readCut": "cancelled", "real": dir,
		"codes": []any{"exists", "not_found", "exists", "failed"}, "pendingLeft": 0.0,
	})
	if part, _ := got["part"].(float64); part < 0 || part > 2_000_000 {
		t.Errorf("the part has %v bytes", got["part"])
	}
	listed, _ := got["listed"].([]any)
	if len(listed) != 1 {
		t.Fatalf("listed %v", got["listed"])
	}
	entry, _ := listed[0].(object)
	expect(t, entry, object{"name": "b", "path": dir + "/a/b", "size": 5_000_001.0, "type": "file"})
}

func TestLogin(t *testing.T) {
	echo := listen(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	_, signer := sshd.NewKey(t)
	config := &ssh.ServerConfig{
		BannerCallback: func(ssh.ConnMetadata) string { return "welcome" },
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != "right" {
				return nil, errors.New("wrong")
			}
			return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
				KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
					answers, err := ask("", "two codes", []string{"one", "two"}, []bool{true, false})
					if err != nil || strings.Join(answers, " ") != "1 2" {
						return nil, errors.New("wrong")
					}
					return nil, nil
				},
			}}
		},
	}
	config.AddHostKey(signer)
	port := listen(t, func(conn net.Conn) { serveSSH(conn, config) })
	got := run(t, "login.mjs", object{
		"port": port, "user": "me", "echo": echo, "decision": "once",
		"answers": [][]string{{"wrong"}, {"right"}, {"1", "2"}},
	})
	expect(t, got, object{
		"kinds":   []any{"password1", "password2", "keyboard-interactive1"},
		"banners": []any{"welcome"},
		"echoed":  300_000.0, "equal": true, "same": true, "noPrint": "", "pendingLeft": 0.0,
		"ended": object{"reason": "closed", "message": "The connection was closed."},
	})
	for name, code := range map[string]string{
		"refused": "network", "shell": "failed", "cutOff": "closed", "late": "network", "givenUp": "cancelled", "thrown": "cancelled",
		"refusedKey": "hostkey", "lostWhile": "network", "broken": "network", "noKey": "protocol",
	} {
		failure, _ := got[name].(object)
		expect(t, failure, object{"code": code, "isError": true})
		if message, _ := failure["message"].(string); len(message) < 10 && name != "late" {
			t.Errorf("%s says %q", name, message)
		}
	}
	if broken, _ := got["broken"].(object); !strings.Contains(broken["message"].(string), "the relay says no") {
		t.Errorf("what broke the connection is told by %v", broken)
	}
	if got["nonsense"] == nil {
		t.Error("nonsense was taken")
	}
}

// listen serves connections until the test ends, and returns the port.
func listen(t *testing.T, handle func(net.Conn)) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// serveSSH is a server that connects, and does nothing else.
func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		var to struct {
			Host       string
			Port       uint32
			Origin     string
			OriginPort uint32
		}
		if offered.ChannelType() != "direct-tcpip" || ssh.Unmarshal(offered.ExtraData(), &to) != nil {
			_ = offered.Reject(ssh.UnknownChannelType, "no shells here")
			continue
		}
		target, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.ParseIP(to.Host), Port: int(to.Port)})
		if err != nil {
			_ = offered.Reject(ssh.ConnectionFailed, "connection refused")
			continue
		}
		channel, more, err := offered.Accept()
		if err != nil {
			target.Close()
			continue
		}
		go ssh.DiscardRequests(more)
		go func() {
			_, _ = io.Copy(target, channel)
			_ = target.CloseWrite()
		}()
		go func() {
			_, _ = io.Copy(channel, target)
			_ = channel.Close()
			_ = target.Close()
		}()
	}
}
