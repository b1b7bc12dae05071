package e2e

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// protocolLeeway is how long a token is good for behind its exp (protocol, section 10).
const protocolLeeway = 5 * time.Second

// endOf waits for the close frame of a WebSocket, and passes over what comes before.
func endOf(t *testing.T, ws *websocket.Conn) (code int, text string) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			closed, ok := err.(*websocket.CloseError)
			if !ok {
				t.Fatalf("it ends with %v", err)
			}
			return closed.Code, closed.Text
		}
	}
}

// saysAuth sends a token in-band, and returns the answer.
func saysAuth(t *testing.T, ws *websocket.Conn, token string) string {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, jsonOf(fields{"type": "auth", "token": token})); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if text := string(data); strings.Contains(text, `"auth_ok"`) || strings.Contains(text, `"auth_failed"`) {
			return text
		}
	}
}

// With END_WITH_TOKEN sessions end when their token has expired, but for those that have
// shown a fresh one: in a message, or by taking the session up with it.
func TestEndWithToken(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := tunnelServer(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "END_WITH_TOKEN=true", "LOG_LEVEL=debug")
	expires := time.Unix(time.Now().Unix()+2, 0)
	short := keys.token(fields{"exp": expires.Unix()})
	fresh := keys.token(fields{"exp": expires.Unix() + 3600})
	far, conns := handServer(t)

	relay := open(t, s, relayPath(far, "token", short))
	target := accept(t, conns)
	dies := tunnelOpen(t, s, tunnelScript{query: "token=" + short})
	tunnel, _, err := dialWS(t, s.ws("/tunnel?token="+short), nil)
	if err != nil {
		t.Fatal(err)
	}
	lasting := open(t, s, relayPath(echoServer(t), "token", short), "Sec-WebSocket-Protocol: wsproxy.resume, wsproxy.v1")
	_, session, err := lasting.ReadMessage()
	if err != nil || !strings.Contains(string(session), `"session"`) {
		t.Fatalf("it begins with %s, %v", session, err)
	}
	if err := lasting.WriteMessage(websocket.TextMessage, []byte(`{"type":"ack","bytes":0,"limit":65536}`)); err != nil {
		t.Fatal(err)
	}

	ok := fmt.Sprintf(`{"type":"auth_ok","exp":%d}`, expires.Unix()+3600)
	for name, ws := range map[string]*websocket.Conn{"tunnel": tunnel, "relay": lasting} {
		if got := saysAuth(t, ws, fresh); got != ok {
			t.Errorf("%s: a fresh token is answered %s", name, got)
		}
		eventually(t, patience, name+": another user's token is answered with that", func() bool { // after the pace of good ones
			return strings.Contains(saysAuth(t, ws, keys.token(fields{"sub": "user_2"})), `"other_user"`)
		})
		if got := saysAuth(t, ws, fresh); !strings.Contains(got, `"too_often"`) {
			t.Errorf("%s: one right behind a wrong one is answered %s", name, got)
		}
	}

	const sentence = "the token has expired: connect again with a fresh one"
	if code, text := endOf(t, relay); code != 1008 || text != sentence {
		t.Errorf("the relay ends with %d %q", code, text)
	}
	if early := time.Until(expires.Add(protocolLeeway)); early > 0 {
		t.Errorf("it ends %v before its time", early)
	}
	_ = target.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, target); err != nil {
		t.Errorf("its target gets %v", err)
	}
	_ = target.Close()
	if code := dies.waitEnd(t); code != 1008 {
		t.Errorf("the tunnel ends with %d", code)
	}
	s.waitLog(t, `"msg":"relay ended"`)
	for _, line := range append(s.logLines(`"msg":"relay ended"`), s.logLines(`"msg":"tunnel ended"`)...) {
		if line["reason"] != "token_expired" {
			t.Errorf("the line is %v", line)
		}
	}
	if err := lasting.WriteMessage(websocket.BinaryMessage, append([]byte("still"), 0, 0, 0, 0, 0, 0, 0, 5)); err != nil {
		t.Fatal(err)
	}
	_ = lasting.SetReadDeadline(time.Now().Add(patience))
	for {
		kind, data, err := lasting.ReadMessage()
		if err != nil {
			t.Fatalf("the relay with a fresh token: %v", err)
		}
		if kind == websocket.BinaryMessage {
			if string(data[:len(data)-8]) != "still" {
				t.Errorf("it echoes %q", data)
			}
			break
		}
	}
	eventually(t, patience, "an expired token is answered with that", func() bool { // after the pace of wrong ones
		return strings.Contains(saysAuth(t, tunnel, short), `"expired"`)
	})
	if log := s.log(); strings.Contains(log, short) || strings.Contains(log, fresh) {
		t.Error("a token is logged")
	}
}
