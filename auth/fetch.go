package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxAnswerBytes bounds the body of a key set. A key of 2048 bits takes about
	// 500 bytes, with a chain of certificates some thousands.
	maxAnswerBytes = 1 << 20
	// maxAnswerHeaderBytes bounds the header before it.
	maxAnswerHeaderBytes = 64 << 10
)

// fetcher asks the endpoint once. It has no state: what came of earlier fetches
// is the keyring's.
type fetcher struct {
	client  *http.Client
	address *url.URL
	timeout time.Duration // of the whole fetch, the last byte of the body included
}

func newFetcher(address *url.URL, client *http.Client, timeout time.Duration) fetcher {
	if client == nil {
		client = &http.Client{Transport: newTransport()}
	}
	own := *client
	// Not one redirect is followed: the address is configuration, and where the
	// keys of the house come from is not for a web server to move.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return fetcher{client: &own, address: address, timeout: timeout}
}

// newTransport keeps no connection between fetches, which are an hour apart, so
// that nothing is left when a Verifier is closed.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxAnswerHeaderBytes,
	}
}

// fetch asks for the key set. Every answer that isn't a usable one is an error,
// and no error contains the query or the user of the address.
func (f fetcher) fetch(ctx context.Context) (set keySet, err error) {
	// This runs on the goroutine that everyone's keys depend on: a parser that
	// trips over an odd answer must cost that answer, not the process.
	defer func() {
		if cause := recover(); cause != nil {
			set, err = keySet{}, fmt.Errorf("reading the answer failed unexpectedly: %v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address.String(), nil)
	if err != nil {
		return keySet{}, errors.New("the address of the key set cannot be asked")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")

	response, err := f.client.Do(request)
	if err != nil {
		return keySet{}, f.explain(ctx, "the endpoint cannot be asked", err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return keySet{}, fmt.Errorf("the answer is a redirect (%d), which is not followed; configure the address it leads to", response.StatusCode)
	case response.StatusCode != http.StatusOK:
		return keySet{}, fmt.Errorf("the answer has status %d, expected 200", response.StatusCode)
	}
	// One byte more than allowed tells a body of the full size from a longer one.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return keySet{}, f.explain(ctx, "the answer cannot be read to its end", err)
	}
	if len(body) > maxAnswerBytes {
		return keySet{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswerBytes)
	}
	return parseKeySet(body)
}

// explain takes the address out of a client's error, and names our own timeout.
func (f fetcher) explain(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no complete answer within %s", f.timeout)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return fmt.Errorf("%s: %w", what, err)
}
