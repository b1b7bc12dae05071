package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// heard sends a request's lines through a tunnel and returns what the service's
// socket got.
func heard(t *testing.T, query string, env, lines []string) (strictRequest, *bytesRig) {
	t.Helper()
	got := make(chan strictRequest, 1)
	r := newBytesRigTo(t, strictService(t, got, okAnswer), query, env...)
	wire := r.wire(t)
	wire.say(t, append([]string{lines[0], "Host: " + r.c.host}, lines[1:]...)...)
	reply := wire.hear(t, "GET")
	select {
	case request := <-got:
		if request.err != nil || reply.status != 200 || reply.body != "ok" {
			t.Fatalf("the service gets %+v, and the answer is %d %q", request, reply.status, reply.body)
		}
		return request, r
	default:
		t.Fatalf("the service gets nothing, and the answer is %d %q", reply.status, reply.body)
		return strictRequest{}, r
	}
}

// wantFields holds what a service got to what it should get, whatever the order of
// different names.
func wantFields(t *testing.T, got, want []string) {
	t.Helper()
	normal := func(fields []string) (lines []string) {
		for _, field := range fields {
			name, value, _ := strings.Cut(field, ":")
			lines = append(lines, fmt.Sprintf("%s:%.60s", http.CanonicalHeaderKey(name), value))
		}
		slices.SortStableFunc(lines, func(a, b string) int {
			a, _, _ = strings.Cut(a, ":")
			b, _, _ = strings.Cut(b, ":")
			return strings.Compare(a, b)
		})
		return lines
	}
	got, want = normal(got), normal(want)
	if slices.Equal(got, want) {
		return
	}
	without := func(all, these []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return slices.Contains(these, line) })
	}
	t.Errorf("of the fields %q should not be there, %q are missing, or the order is another: %q", without(got, want), without(want, got), got)
}

// A bare request stays bare: nothing is made up but what says where it comes from.
func TestBytesHeadersNoneMadeUp(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			got := make(chan strictRequest, 1)
			r := newBytesRigTo(t, strictService(t, got, "HTTP/1.1 204 No Content\r\n\r\n"), "")
			wire := r.wire(t)
			wire.say(t, method+" /a%2Fb/../c?x=%zz&y HTTP/1.1", "Host: "+r.c.host)
			request := <-got
			if want := method + " /a%2Fb/../c?x=%zz&y HTTP/1.1\r\n"; request.line != want || request.err != nil {
				t.Errorf("the line is %q, not %q, %v", request.line, want, request.err)
			}
			wantFields(t, request.fields, []string{
				"Host: " + r.c.host, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: " + r.c.host, "X-Forwarded-Proto: http",
			})
		})
	}
}

// What is for the proxy alone doesn't pass, nor what would lie about the source, nor
// credentials; all else does, byte for byte, and lines stay lines.
func TestBytesHeadersToTheService(t *testing.T) {
	t.Parallel()
	lines := []string{
		"POST / HTTP/1.1", "Content-Length: 0", "X-A: 1", "x-a: 2,  3", "X-A: 1", "X-Empty:", "X-Latin: gr\xfc\xdfe", "X-UTF-8: grüße", `X-Quoted: "a, b"`,
		"Accept-Encoding: gzip;q=0.5, zstd", "Accept: */*", "User-Agent: t/1 (x)", "Range: bytes=0-", "If-None-Match: W/\"x\"", "Content-Type: text/x",
		"Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: 300", "Proxy-Connection: keep-alive", "TE: trailers, gzip;q=0.5", "Upgrade: x",
		"Cookie: a=b", "Cookie: c=d", "Authorization: Basic eDp5", "Proxy-Authorization: Basic eDp5", "X-CSRF-Token: t", "X-XSRF-Token: t",
		"Proxy: http://evil", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https",
		"X_Forwarded_For: 6.6.6.6", "X_Real_IP: 6.6.6.6", "Origin: https://a.example", "Sec-Fetch-Mode: cors",
	}
	kept := []string{
		"Content-Length: 0", "X-A: 1", "X-A: 2,  3", "X-A: 1", "X-Empty: ", "X-Latin: gr\xfc\xdfe", "X-UTF-8: grüße", `X-Quoted: "a, b"`,
		"Accept-Encoding: gzip;q=0.5, zstd", "Accept: */*", "User-Agent: t/1 (x)", "Range: bytes=0-", "If-None-Match: W/\"x\"", "Content-Type: text/x",
		"Connection: TE", "TE: trailers", "Origin: https://a.example", "Sec-Fetch-Mode: cors", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http",
	}
	for name, more := range map[string][]string{
		"false": nil,
		"true":  {"Cookie: a=b; c=d", "Authorization: Basic eDp5", "Proxy-Authorization: Basic eDp5", "X-CSRF-Token: t", "X-XSRF-Token: t"},
	} {
		t.Run("credentials "+name, func(t *testing.T) {
			request, r := heard(t, "", []string{"TUNNEL_FORWARD_CREDENTIALS=" + name}, lines)
			want := append(slices.Concat(kept, more), "Host: "+r.c.host, "X-Forwarded-Host: "+r.c.host)
			wantFields(t, request.fields, want)
			for _, secret := range []string{"eDp5", "6.6.6.6", "a.example"} {
				if strings.Contains(r.s.log(), secret) {
					t.Errorf("%q is in the log", secret)
				}
			}
		})
	}
}

// The service hears the name that host=H says, and X-Forwarded-Host says the other.
func TestBytesHostOfTheService(t *testing.T) {
	t.Parallel()
	request, r := heard(t, "host=localhost:5173", nil, []string{"GET / HTTP/1.1"})
	if got := request.values("Host"); got[0] != "localhost:5173" {
		t.Errorf("Host is %q", got)
	}
	if got := request.values("X-Forwarded-Host"); len(got) != 1 || got[0] != r.c.host {
		t.Errorf("X-Forwarded-Host is %q", got)
	}
}

// Nothing passes from a service that is for the proxy alone, or that front proxies
// take for orders, in a final or an interim answer; all else does, as it came.
func TestBytesHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	policy := "Content-Security-Policy: " + strings.Repeat("default-src 'self'; ", 1000) + "x"
	kept := []string{
		"X-A: 1", "X-A: 2,  3", "X-Latin: gr\xfc\xdfe", "Vary: Origin", "Access-Control-Allow-Origin: *", "Location: /x y", "Server: s/1",
		"Date: Thu, 01 Jan 1970 00:00:00 GMT", "WWW-Authenticate: Basic", "WWW-Authenticate: Negotiate", policy,
	}
	dropped := []string{
		"Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: timeout=100", "Proxy-Connection: x", "Upgrade: h2c", "TE: x",
		"Strict-Transport-Security: max-age=1", "Public-Key-Pins: x", "Clear-Site-Data: \"*\"", "Set-Cookie2: a=b", "X-Accel-Redirect: /x", "X-Accel-Buffering: no",
		"X-Sendfile: /etc/passwd", "X-Lighttpd-Send-File: /x", "X-Reproxy-URL: http://x", "X_Accel_Redirect: /x",
	}
	cookies := []string{"Set-Cookie: a=b; Domain=tunnel.test; Path=/", "Set-Cookie: c=d; HttpOnly"}
	fields := strings.Join(slices.Concat(kept, dropped, cookies), "\r\n") + "\r\n"
	answer := "HTTP/1.1 103 Early Hints\r\n" + strings.Join(slices.Concat(dropped[6:], cookies), "\r\n") + "\r\nLink: <x>\r\n\r\n" +
		"HTTP/1.1 401 Own Words\r\n" + fields + "Content-Length: 2\r\n\r\nok"
	for name, more := range map[string][]string{"false": nil, "true": {"Set-Cookie: a=b; Path=/", "Set-Cookie: c=d; HttpOnly"}} {
		t.Run("credentials "+name, func(t *testing.T) {
			r := newBytesRigTo(t, saysAndEnds(t, answer, false), "", "TUNNEL_FORWARD_CREDENTIALS="+name)
			wire := r.wire(t)
			wire.say(t, "GET / HTTP/1.1", "Host: "+r.c.host)
			interim, line := answerFields(t, wire.in)
			if line != "HTTP/1.1 103 Early Hints" {
				t.Fatalf("the first line is %q", line)
			}
			final, line := answerFields(t, wire.in)
			if !strings.HasPrefix(line, "HTTP/1.1 401 ") {
				t.Errorf("the line is %q", line)
			}
			wantFields(t, final, slices.Concat(kept, more, []string{"Content-Length: 2"}))
			if !slices.Contains(interim, "Link: <x>") || len(interim) > 1+len(more) {
				t.Errorf("the interim answer has %q", interim)
			}
		})
	}
}

// answerFields reads an answer's head as it is on the wire.
func answerFields(t *testing.T, in *bufio.Reader) (fields []string, line string) {
	t.Helper()
	for {
		raw, err := in.ReadBytes('\n')
		if err != nil {
			t.Fatalf("half a head: %v", err)
		}
		text := string(bytes.TrimSuffix(raw, []byte("\r\n")))
		switch {
		case line == "":
			line = text
		case text == "":
			return fields, line
		default:
			fields = append(fields, text)
		}
	}
}

// NTLM is a matter of a connection: one that spoke it serves nobody else.
func TestBytesNTLMKeepsItsConnection(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("WWW-Authenticate", "NTLM TlRMTVNTUAAC")
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = fmt.Fprint(w, r.RemoteAddr)
	}), "TUNNEL_FORWARD_CREDENTIALS=true")
	first := r.get(t, "/login", "Authorization: NTLM TlRMTVNTUAAB")
	if second := r.get(t, "/"); first.status != 401 || second.status != 200 || second.body == first.body {
		t.Errorf("%d over %s, then %d over %s", first.status, first.body, second.status, second.body)
	}
}
