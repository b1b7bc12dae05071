package tap

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
)

// An ownAnswer is one that the service has not given.
type ownAnswer struct {
	status    int
	challenge string
	html      bool
	body      string
	hint      string
}

// encode returns the answer as bytes.
func (a *ownAnswer) encode(toHEAD, closes bool) []byte {
	kind := "text/plain"
	if a.html {
		kind = "text/html"
	}
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\n", a.status, http.StatusText(a.status), kind, len(a.body))
	if a.html {
		b = append(b, "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"...)
	}
	if a.challenge != "" {
		b = fmt.Appendf(b, "WWW-Authenticate: %s\r\n", a.challenge)
	}
	if closes {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	if !toHEAD {
		b = append(b, a.body...)
	}
	return b
}

// wantsPage reports whether who sends this Accept field is a browser that shows a page.
func wantsPage(accept []byte) bool { return bytes.Contains(accept, []byte("text/html")) }

// unauthorized asks for a name and a password.
func unauthorized(challenge string, page bool) ownAnswer {
	return own(http.StatusUnauthorized, page, "Name and password needed",
		"This address is for those who have a name and a password for it.").with(challenge)
}

func (a ownAnswer) with(challenge string) ownAnswer {
	a.challenge = challenge
	return a
}

// unreachable says that the service can't be reached.
func unreachable(service string, err error, page bool) ownAnswer {
	a := own(http.StatusBadGateway, page, "Nothing answers at "+service,
		"The tunnel works, but the service behind it can't be reached: "+err.Error()+".",
		"If this is your service: start it, or see whether it listens on another port or address, and load this page again. The tunnel needs no restart.")
	a.hint = err.Error()
	return a
}

// unanswered says that the service has closed the connection without a word.
func unanswered(service string, page bool) ownAnswer {
	a := own(http.StatusBadGateway, page, "No answer from "+service,
		"The tunnel works, but the service behind it took the request and closed the connection without an answer.",
		"If this is your service: its log may say why. One that speaks HTTPS alone is exposed as https://"+service+".")
	a.hint = "the service closed the connection without an answer; does it speak HTTPS, or no HTTP at all?"
	return a
}

// own makes an answer of sentences, as a page or as plain text.
func own(status int, page bool, title string, sentences ...string) ownAnswer {
	a := ownAnswer{status: status, html: page}
	if !page {
		a.body = fmt.Sprintf("%d %s\n\n", status, title)
		for _, sentence := range sentences {
			a.body += sentence + "\n"
		}
		return a
	}
	a.body = fmt.Sprintf(pageHead, html.EscapeString(title), status, html.EscapeString(title))
	for _, sentence := range sentences {
		a.body += "<p>" + html.EscapeString(sentence) + "</p>\n"
	}
	a.body += "<footer>wsproxy expose</footer>\n</main>\n"
	return a
}

const pageHead = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --text: #1d2530; --faint: #6b7685; --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --card: #1b2129; --text: #e4e8ee; --faint: #8e99a8; --mark: #fb923c; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--back); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 34rem; margin: 1.5rem; padding: 2rem 2.25rem; background: var(--card); border-radius: 12px; box-shadow: 0 1px 3px #0002, 0 8px 24px #0001; overflow-wrap: anywhere; }
b { color: var(--mark); font-size: .95rem; letter-spacing: .04em; }
h1 { margin: .25rem 0 1rem; font-size: 1.4rem; line-height: 1.3; }
footer { margin-top: 1.75rem; color: var(--faint); font-size: .85rem; }
</style>
<main>
<b>%d</b>
<h1>%s</h1>
`
