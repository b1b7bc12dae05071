package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// How the server lives with the endpoint that publishes its keys. A request
// that passes is answered 426, for it is no upgrade.

// accepts reports whether a token is let in, and how long the answer took.
func accepts(t *testing.T, s *server, path, token string) (bool, time.Duration) {
	t.Helper()
	began := time.Now()
	r := ask(t, s, "GET", path+"&token="+token)
	if r.status != 426 && r.status != 401 {
		t.Errorf("status %d (%s), want 426 or 401", r.status, strings.TrimSpace(r.body))
	}
	return r.status == 426, time.Since(began)
}

// unhurried looks at a condition that costs the server something a few times a
// second only.
func unhurried(condition func() bool) func() bool {
	var last time.Time
	return func() bool {
		if time.Since(last) < 200*time.Millisecond {
			return false
		}
		last = time.Now()
		return condition()
	}
}

// Whatever is wrong with the endpoint at the start, the server starts, refuses
// every token with 401, and works once the endpoint does.
func TestKeysAreNotThereAtTheStart(t *testing.T) {
	t.Parallel()
	path := relayPath(echoServer(t))
	scenarios := map[string]func(t *testing.T){}
	for name, fail := range map[string]func(i *issuer) http.HandlerFunc{
		"down":      func(*issuer) http.HandlerFunc { return answerDead },
		"error":     func(*issuer) http.HandlerFunc { return answerStatus },
		"empty set": func(*issuer) http.HandlerFunc { return answerEmptySet },
		"broken":    func(*issuer) http.HandlerFunc { return answerBroken },
		"huge":      func(*issuer) http.HandlerFunc { return answerHuge },
		"slow":      func(i *issuer) http.HandlerFunc { return i.answerSlow },
		"redirect": func(i *issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, i.url, http.StatusFound) }
		},
	} {
		scenarios[name] = func(t *testing.T) {
			keys := newIssuer(t)
			keys.answerWith(fail(keys))
			s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
			eventually(t, patience, "the server asks for keys", func() bool { return keys.fetches.Load() > 0 })
			in, took := accepts(t, s, path, keys.token(nil))
			if in || took > 10*time.Second {
				t.Errorf("without keys: let in %v, after %v", in, took)
			}
			if r := ask(t, s, "GET", "/health"); r.status != 200 {
				t.Errorf("/health: status %d", r.status)
			}
			keys.publish("first")
			eventually(t, patience, "the server has the keys", func() bool {
				in, _ := accepts(t, s, path, keys.token(nil))
				return in
			})
			if n := keys.fetches.Load(); n > 6 {
				t.Errorf("the endpoint was asked %d times within seconds", n)
			}
		}
	}
	together(t, scenarios)
}

// A key that is new is fetched when it is first seen, at most once a minute,
// and what the endpoint does then takes no key away that is known.
func TestKeysChange(t *testing.T) {
	t.Parallel()
	path := relayPath(echoServer(t))
	// The next fetch for an unknown key may be up to a minute away.
	const aMinute = 75 * time.Second
	scenarios := map[string]func(t *testing.T){
		"rotation": func(t *testing.T) {
			keys := newIssuer(t)
			s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
			eventually(t, patience, "the first key is let in", func() bool {
				in, _ := accepts(t, s, path, keys.token(nil))
				return in
			})
			keys.publish("first", "second")
			next := func() string { return signed(signingKeys()[1], fields{"kid": "second"}, claimsWith(nil)) }
			eventually(t, aMinute, "the second key is let in", unhurried(func() bool {
				in, _ := accepts(t, s, path, next())
				return in
			}))
			if in, _ := accepts(t, s, path, keys.token(nil)); !in {
				t.Error("the first key, which is still published, is refused")
			}
			if n := keys.fetches.Load(); n != 2 {
				t.Errorf("the endpoint was asked %d times, want twice", n)
			}
		},
	}
	for name, fail := range map[string]func(i *issuer) http.HandlerFunc{
		"outage":            func(*issuer) http.HandlerFunc { return answerDead },
		"outage, empty set": func(*issuer) http.HandlerFunc { return answerEmptySet },
		"outage, slow":      func(i *issuer) http.HandlerFunc { return i.answerSlow },
	} {
		scenarios[name] = func(t *testing.T) {
			keys := newIssuer(t)
			s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
			eventually(t, patience, "the first key is let in", func() bool {
				in, _ := accepts(t, s, path, keys.token(nil))
				return in
			})
			keys.answerWith(fail(keys))
			unknown := func() string { return signed(signingKeys()[1], fields{"kid": "unknown"}, claimsWith(nil)) }
			eventually(t, aMinute, "an unknown key makes the server ask again", unhurried(func() bool {
				if in, _ := accepts(t, s, path, unknown()); in {
					t.Error("an unknown key is let in")
				}
				return keys.fetches.Load() > 1
			}))
			for range 20 {
				if in, took := accepts(t, s, path, keys.token(nil)); !in || took > 3*time.Second {
					t.Errorf("the known key during the outage: let in %v, after %v", in, took)
				}
			}
		}
	}
	together(t, scenarios)
}

// 2,000 tokens with unknown keys cause one fetch at most, and nobody else
// notices them.
func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	path := relayPath(echoServer(t))
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
	eventually(t, patience, "the first key is let in", func() bool {
		in, _ := accepts(t, s, path, keys.token(nil))
		return in
	})
	before := keys.fetches.Load()
	claims := segmentOf(jsonOf(claimsWith(nil)))
	var workers sync.WaitGroup
	kids := make(chan int)
	failures := make(chan string, 2000)
	for range 40 {
		workers.Go(func() {
			for kid := range kids {
				header := segmentOf(jsonOf(fields{"alg": "RS256", "kid": fmt.Sprint("random-", kid)}))
				r, err := request(s.addr, "GET", path+"&token="+header+"."+claims+".AAAA")
				if err != nil || r.status != 401 {
					failures <- fmt.Sprintf("status %d, error %v", r.status, err)
				}
			}
		})
	}
	flooded := make(chan struct{})
	go func() {
		for kid := range 2000 {
			kids <- kid
		}
		close(kids)
		workers.Wait()
		close(flooded)
	}()
	for running := true; running; {
		select {
		case <-flooded:
			running = false
		default:
			if in, took := accepts(t, s, path, keys.token(nil)); !in || took > 5*time.Second {
				t.Errorf("a good token within the flood: let in %v, after %v", in, took)
			}
			if r := ask(t, s, "GET", "/health"); r.status != 200 {
				t.Errorf("/health within the flood: status %d", r.status)
			}
		}
	}
	close(failures)
	for failure := range failures {
		t.Fatalf("an unknown key: %s", failure)
	}
	if more := keys.fetches.Load() - before; more > 1 {
		t.Errorf("the flood caused %d fetches, want one at most", more)
	}
}

// An endpoint that accepts connections and says nothing holds up neither the
// start nor anything that needs no token.
func TestMuteEndpoint(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	began := time.Now()
	s := start(t, "CLERK_JWKS_URL=http://"+listener.Addr().String())
	if r := ask(t, s, "GET", "/health"); r.status != 200 {
		t.Errorf("/health: status %d", r.status)
	}
	// Without a token there is nothing to wait for.
	if r := ask(t, s, "GET", "/relay?host=192.0.2.1&port=22"); r.status != 401 {
		t.Errorf("status %d, want 401", r.status)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("that took %v", took)
	}
}
