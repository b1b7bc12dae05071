package acmeca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"wsproxy/internal/testkit"
)

// A CA is a running authority.
type CA struct {
	URL   string // of its directory
	Roots *x509.CertPool

	server *httptest.Server
	ca     testkit.Certificate
	root   *x509.Certificate

	mu       sync.Mutex
	address  string                      // under mu: where names are checked
	nonces   map[string]bool             // under mu
	accounts map[string]*ecdsa.PublicKey // under mu: by their URL
	orders   []*order                    // under mu
	faults   []string                    // under mu: what clients have done wrong
}

type order struct {
	name, token, status string
	cert                []byte
}

// Start starts an authority that ends with the test.
func Start(t testing.TB) *CA {
	c := &CA{ca: testkit.NewCertificate(t, "ca.example"), nonces: make(map[string]bool), accounts: make(map[string]*ecdsa.PublicKey)}
	c.Roots = c.ca.Roots
	c.root, _ = x509.ParseCertificate(c.ca.TLS.Certificate[0])
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	c.URL = c.server.URL + "/directory"
	t.Cleanup(c.server.Close)
	return c
}

// CheckAt says at which address all names are to be found.
func (c *CA) CheckAt(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address = address
}

// Names returns the names of which certificates were ordered, and what clients have done
// wrong.
func (c *CA) Names() (names, faults []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.orders {
		names = append(names, o.name)
	}
	return names, c.faults
}

func (c *CA) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nonce := rand.Text()
	c.nonces[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	at := func(format string, args ...any) string { return c.server.URL + fmt.Sprintf(format, args...) }
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/directory":
		say(200, map[string]string{"newNonce": at("/nonce"), "newAccount": at("/account"), "newOrder": at("/order"), "revokeCert": at("/revoke"), "keyChange": at("/key")})
		return
	case "/nonce":
		return
	}
	payload, account, err := c.open(r)
	if err != nil {
		c.faults = append(c.faults, err.Error())
		say(400, map[string]string{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		return
	}
	if r.URL.Path == "/account" {
		w.Header().Set("Location", account)
		say(201, map[string]string{"status": "valid"})
		return
	}
	if r.URL.Path == "/order" {
		var wanted struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &wanted)
		o := &order{name: wanted.Identifiers[0].Value, token: rand.Text(), status: "pending"}
		c.orders = append(c.orders, o)
		w.Header().Set("Location", at("/order/%d", len(c.orders)-1))
		say(201, c.describe(at, len(c.orders)-1))
		return
	}
	kind, number := "", 0
	if _, err := fmt.Sscanf(strings.ReplaceAll(r.URL.Path, "/", " "), "%s %d", &kind, &number); err != nil || number >= len(c.orders) {
		say(404, map[string]string{"detail": "there is no such thing"})
		return
	}
	o := c.orders[number]
	challenge := map[string]string{"type": "tls-alpn-01", "url": at("/challenge/%d", number), "token": o.token, "status": map[bool]string{true: "valid", false: o.status}[o.status != "pending" && o.status != "invalid"]}
	switch kind {
	case "order":
		say(200, c.describe(at, number))
	case "authorization":
		say(200, map[string]any{"status": challenge["status"], "identifier": map[string]string{"type": "dns", "value": o.name}, "challenges": []any{challenge}})
	case "challenge":
		o.status = "ready"
		if err := c.check(o, c.accounts[account]); err != nil {
			o.status = "invalid"
			c.faults = append(c.faults, err.Error())
		}
		challenge["status"] = map[bool]string{true: "valid", false: "invalid"}[o.status == "ready"]
		say(200, challenge)
	case "finalize":
		var sent struct{ CSR string }
		_ = json.Unmarshal(payload, &sent)
		if err := c.issue(o, sent.CSR); err != nil {
			c.faults = append(c.faults, err.Error())
			say(403, map[string]string{"detail": err.Error()})
			return
		}
		w.Header().Set("Location", at("/order/%d", number))
		say(200, c.describe(at, number))
	case "certificate":
		_, _ = w.Write(o.cert)
	}
}

func (c *CA) describe(at func(string, ...any) string, number int) map[string]any {
	o := c.orders[number]
	d := map[string]any{"status": o.status, "authorizations": []string{at("/authorization/%d", number)}, "finalize": at("/finalize/%d", number)}
	if o.cert != nil {
		d["certificate"] = at("/certificate/%d", number)
	}
	return d
}

// open returns what a request says, and the URL of the account that has signed it. Under mu.
func (c *CA) open(r *http.Request) (payload []byte, account string, err error) {
	var signed struct{ Protected, Payload, Signature string }
	if err := json.NewDecoder(r.Body).Decode(&signed); err != nil {
		return nil, "", err
	}
	var head struct {
		Alg, Nonce, URL, KID string
		JWK                  struct{ X, Y string }
	}
	decoded, _ := base64.RawURLEncoding.DecodeString(signed.Protected)
	if err := json.Unmarshal(decoded, &head); err != nil {
		return nil, "", err
	}
	if !c.nonces[head.Nonce] || head.URL != c.server.URL+r.URL.Path || head.Alg != "ES256" {
		return nil, "", fmt.Errorf("%s has a nonce, URL or algorithm that is not taken", r.URL.Path)
	}
	delete(c.nonces, head.Nonce)
	account = head.KID
	key := c.accounts[account]
	if account == "" {
		x, _ := base64.RawURLEncoding.DecodeString(head.JWK.X)
		y, _ := base64.RawURLEncoding.DecodeString(head.JWK.Y)
		if key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y)); err != nil {
			return nil, "", err
		}
		account = c.server.URL + "/account/" + head.JWK.X
		c.accounts[account] = key
	}
	hash := sha256.Sum256([]byte(signed.Protected + "." + signed.Payload))
	signature, _ := base64.RawURLEncoding.DecodeString(signed.Signature)
	if key == nil || len(signature) != 64 || !ecdsa.Verify(key, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil, "", fmt.Errorf("%s is not signed by an account", r.URL.Path)
	}
	payload, err = base64.RawURLEncoding.DecodeString(signed.Payload)
	return payload, account, err
}

// check looks whether who answers for a name has the account's key. Under mu.
func (c *CA) check(o *order, key *ecdsa.PublicKey) error {
	conn, err := tls.Dial("tcp", c.address, &tls.Config{ServerName: o.name, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true})
	if err != nil {
		return fmt.Errorf("%s can't be checked: %w", o.name, err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	thumbprint, err := acme.JWKThumbprint(key)
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(o.token + "." + thumbprint))
	want, _ := asn1.Marshal(hash[:])
	leaf := state.PeerCertificates[0]
	for _, e := range leaf.Extensions {
		if e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical && string(e.Value) == string(want) && state.NegotiatedProtocol == acme.ALPNProto {
			if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != o.name {
				return fmt.Errorf("the certificate for %s names %v", o.name, leaf.DNSNames)
			}
			return nil
		}
	}
	return fmt.Errorf("who answers for %s has not the account's key", o.name)
}

// issue makes the certificate. Under mu.
func (c *CA) issue(o *order, text string) error {
	der, _ := base64.RawURLEncoding.DecodeString(text)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	if o.status != "ready" || csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != o.name {
		return fmt.Errorf("the order for %s is %s, and its request names %v", o.name, o.status, csr.DNSNames)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(0, 3, 0)}
	issued, err := x509.CreateCertificate(rand.Reader, template, c.root, csr.PublicKey, c.ca.TLS.PrivateKey)
	if err != nil {
		return err
	}
	o.cert = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued}), c.ca.Cert...)
	o.status = "valid"
	return nil
}
