package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A gosshResponse is http_response.
type gosshResponse struct {
	Type         string            `json:"type"`
	ID           string            `json:"id"`
	Status       int               `json:"status"`
	Headers      map[string]string `json:"headers"`
	Body         string            `json:"body"`
	BodyEncoding string            `json:"bodyEncoding,omitempty"`
}

// request handles http_request. A bad path is answered by the goroutine that
// reads.
func (c *gosshClient) request(m tunnelMessage) {
	if !strings.HasPrefix(m.Path, "/") {
		c.mu.Lock()
		c.answers[m.ID] = time.Now()
		c.mu.Unlock()
		c.answer(m.ID, http.StatusBadRequest, "invalid path")
		return
	}
	c.running.Go(func() {
		if !c.takeSlot() {
			c.answer(m.ID, http.StatusServiceUnavailable, "no slot is free")
			return
		}
		response, err := c.fetch(m)
		c.freeSlot()
		if err != nil {
			c.answer(m.ID, http.StatusBadGateway, err.Error())
			return
		}
		c.respond(response)
	})
}

// answer answers a request by itself.
func (c *gosshClient) answer(id string, status int, text string) {
	c.respond(gosshResponse{ID: id, Status: status, Headers: map[string]string{"Content-Type": "text/plain"}, Body: text})
}

func (c *gosshClient) respond(response gosshResponse) {
	response.Type = "http_response"
	data := gosshJSON(response)
	c.mu.Lock()
	c.said = append(c.said, len(data))
	c.mu.Unlock()
	c.emit(data)
}

// fetch asks the service, on a channel of its own.
func (c *gosshClient) fetch(m tunnelMessage) (gosshResponse, error) {
	response := gosshResponse{ID: m.ID, Headers: map[string]string{}}
	if !c.channelOpens() {
		return response, net.ErrClosed
	}
	conn, err := c.channel()
	if err != nil {
		return response, err
	}
	defer conn.Close()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-c.ended:
			conn.Close()
		case <-finished:
		}
	}()
	go func() { _, _ = conn.Write(c.requestBytes(m)) }() // a service may answer before it has read everything
	in := textproto.NewReader(bufio.NewReader(conn))
	line, err := in.ReadLine()
	if err != nil {
		return response, err
	}
	if _, err = fmt.Sscanf(line, "HTTP/1.%1d %d", new(int), &response.Status); err != nil {
		return response, err
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return response, err
	}
	for name, values := range header {
		response.Headers[name] = strings.Join(values, ", ")
	}
	var body io.Reader = in.R
	chunked := strings.EqualFold(header.Get("Transfer-Encoding"), "chunked")
	switch length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); {
	case m.Method == http.MethodHead || response.Status == http.StatusNoContent || response.Status == http.StatusNotModified:
		body = http.NoBody
	case chunked && !c.habits.keepsChunks:
		body = httputil.NewChunkedReader(in.R)
		delete(response.Headers, "Transfer-Encoding")
	case err == nil && !chunked:
		body = io.LimitReader(in.R, length)
	}
	if c.habits.answerLimit > 0 {
		body = io.LimitReader(body, c.habits.answerLimit)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return response, err
	}
	asText := utf8.Valid(data)
	if c.habits.textAsString {
		asText = gosshIsText(header.Get("Content-Type"))
	}
	if asText {
		response.Body = string(data)
	} else {
		response.Body, response.BodyEncoding = base64.StdEncoding.EncodeToString(data), "base64"
	}
	return response, nil
}

// gosshIsText tells for which types of content the body is a JSON string.
func gosshIsText(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "" || strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml"):
		return true
	default:
		return kind == "application/json" || kind == "application/javascript" || kind == "application/xml"
	}
}

// requestBytes is a request as the double writes it.
func (c *gosshClient) requestBytes(m tunnelMessage) []byte {
	body := m.bytes()
	if c.habits.bodyAsItCame {
		body = []byte(m.Body)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", m.Method, m.Path, c.script.service)
	for name, value := range m.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
			continue
		case "Content-Length":
			if !c.habits.twoLengths {
				continue
			}
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
