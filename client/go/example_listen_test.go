package wsproxy_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"

	wsproxy "wsproxy/client/go"
)

func ExampleListen() {
	address, stop := exampleServer("TUNNEL_DOMAIN=tunnel.localhost")
	defer stop()

	l, tunnel, err := wsproxy.Listen(context.Background(), wsproxy.ListenOptions{
		Server: wsproxy.Server{URL: "ws://" + address}, // or wss://proxy.example.com, with a Token
	})
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello from behind the tunnel:", r.URL.Path)
	}))

	// Anybody can ask now, at tunnel.URL. Here its name leads nowhere, so it is told apart by Host.
	request, _ := http.NewRequest("GET", "http://"+address+"/some/page", nil)
	request.Host = hostOf(tunnel.URL)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	fmt.Print(string(body))

	tunnel.Close()
	<-tunnel.Done()
	fmt.Println(tunnel.Err())
	// Output:
	// Hello from behind the tunnel: /some/page
	// <nil>
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		log.Fatal(err)
	}
	return strings.ToLower(u.Host)
}
