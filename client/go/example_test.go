package wsproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	wsproxy "wsproxy/client/go"
)

// A connection that outlives its WebSocket, as any net.Conn.
func ExampleDial() {
	serverURL, port, stop := wsproxy.StartExample() // a server, and behind it a service that echoes
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := wsproxy.Dial(ctx, wsproxy.DialOptions{
		Server: wsproxy.Server{
			URL:   serverURL, // such as wss://proxy.example.com
			Token: func(context.Context) (string, error) { return os.Getenv("WSPROXY_TOKEN"), nil },
			OnDetached: func(err error) {
				log.Printf("the connection is interrupted: %v", err)
			},
		},
		Host: "127.0.0.1",
		Port: port,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	fmt.Fprint(conn, "Hello")
	conn.(*wsproxy.Conn).CloseWrite()
	answer, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", answer, err)
	// Output: Hello <nil>
}

// What a server that refuses says.
func ExampleRefusedError() {
	serverURL, _, stop := wsproxy.StartExample()
	defer stop()

	_, err := wsproxy.Dial(context.Background(), wsproxy.DialOptions{Server: wsproxy.Server{URL: serverURL}, Host: "no such name", Port: 80})
	var refused *wsproxy.RefusedError
	if errors.As(err, &refused) {
		fmt.Println(refused.Status)
	}
	// Output: 400
}

// Any client of net/http, through the server.
func ExampleDial_http() {
	serverURL, _, stop := wsproxy.StartExample()
	defer stop()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "Good morning")
	}))
	defer service.Close()

	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			number, err := strconv.Atoi(port)
			if err != nil {
				return nil, err
			}
			return wsproxy.Dial(ctx, wsproxy.DialOptions{Server: wsproxy.Server{URL: serverURL}, Host: host, Port: number})
		},
	}}
	defer client.CloseIdleConnections()
	response, err := client.Get(service.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: Good morning <nil>
}
