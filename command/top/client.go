package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"wsproxy/messages/inspect"
)

const (
	// askTime bounds a question and its answer.
	askTime = 10 * time.Second
	// maxAnswer bounds an answer, in bytes: more than that of all sessions that a server
	// tells of.
	maxAnswer = 64 << 20
	// maxFields bounds what of an answer becomes memory, which is a hundred times what an
	// empty session takes in JSON: the 40,000 sessions that a server tells of at most have
	// some 15 fields each.
	maxFields = 40_000 * 25
)

// A client asks the admin endpoints of one server.
type client struct {
	at    address
	token string
	http  http.Client
}

func newClient(at address, token string) *client {
	return &client{at: at, token: token, http: http.Client{
		Transport:     at.transport(),
		Timeout:       askTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for nobody else
	}}
}

// sessions asks what there is.
func (c *client) sessions(ctx context.Context) (answer inspect.Answer, err error) {
	err = c.ask(ctx, http.MethodGet, "/debug/sessions", &answer)
	return answer, err
}

// close ends the sessions of an id.
func (c *client) close(ctx context.Context, id string) error {
	if !inspect.IsID(id) {
		return errors.New("the server gives it no id that can be asked for")
	}
	var closed inspect.Closed
	return c.ask(ctx, http.MethodPost, "/debug/sessions/"+id+"/close", &closed)
}

func (c *client) ask(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.at.base.String()+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(request)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return fmt.Errorf("the server at %s can't be asked: %w", c.at, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer of %s can't be read: %w", c.at, err)
	}
	if answer.StatusCode != http.StatusOK {
		var said inspect.Error
		_ = json.Unmarshal(body, &said) // or it is not wsproxy that says so
		switch {
		case answer.StatusCode == http.StatusUnauthorized:
			return fmt.Errorf("the server refuses the token: it must be its ADMIN_TOKEN")
		case said.Error != "":
			return errors.New(said.Error)
		case answer.StatusCode == http.StatusNotFound:
			return fmt.Errorf("there is no %s at %s: is this the address of METRICS_ADDR, and has the server an ADMIN_TOKEN?", path, c.at)
		}
		return fmt.Errorf("%s answers %s", c.at, http.StatusText(answer.StatusCode))
	}
	if bytes.Count(body, []byte(",")) > maxFields {
		return fmt.Errorf("what %s says is more than a wsproxy tells", c.at)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("what %s says can't be read, is it a wsproxy? %w", c.at, err)
	}
	return nil
}
