package tap

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// feed shows b to follow in pieces that seed decides.
func feed(seed uint64, b []byte, follow func([]byte)) {
	r := rand.New(rand.NewPCG(seed, 1))
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(40))
		follow(b[:n:n])
		b = b[n:]
	}
}

func fuzzWatch() (*watch, *recorder) {
	seen := newRecorder()
	seen.came = make(chan struct{}, 1<<16)
	return newWatch(&Tap{Watcher: seen, Keeper: keeper{seen}, Counters: &Counters{}}, "", nil), seen
}

// Whatever comes, the framer takes all of it, and the same in any pieces; what net/http
// reads as requests of the strict kind, the watch reads alike.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: y\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\n\n",
	} {
		f.Add([]byte(seed), uint64(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		whole, wholeSeen := fuzzWatch()
		whole.requestBytes(b)
		pieces, seen := fuzzWatch()
		feed(seed, b, pieces.requestBytes)
		if whole.lost != pieces.lost || len(whole.pending) != len(pieces.pending) {
			t.Fatalf("as a whole %v with %d, in pieces %v with %d", whole.lost, len(whole.pending), pieces.lost, len(pieces.pending))
		}
		whole.over(false)
		pieces.over(false)
		r := bufio.NewReader(bytes.NewReader(b))
		for i, e := range seen.ended {
			if w := wholeSeen.ended[i]; e.Method != w.Method || e.Path != w.Path || e.In != w.In || !bytes.Equal(e.RequestBody, w.RequestBody) {
				t.Fatalf("as a whole %+v, in pieces %+v", w, e)
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				return // it is stricter about names, hosts and lengths
			}
			body, err := io.ReadAll(req.Body)
			if req.Method != e.Method || req.RequestURI != e.Path {
				t.Fatalf("net/http reads %s %q, we %s %q", req.Method, req.RequestURI, e.Method, e.Path)
			}
			if err != nil {
				return
			}
			if int64(len(body)) != e.In || !bytes.Equal(body[:min(len(body), maxKept)], e.RequestBody) {
				t.Fatalf("net/http reads a body of %d, we of %d", len(body), e.In)
			}
		}
	})
}

// The same of answers, to a GET or a HEAD.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 204 No\r\n\r\n",
		"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\n\nabc",
		"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\nabc",
	} {
		f.Add([]byte(seed), uint64(0), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		request := []byte(method + " / HTTP/1.1\r\n\r\n")
		whole, wholeSeen := fuzzWatch()
		pieces, seen := fuzzWatch()
		for range 4 {
			whole.requestBytes(request)
			pieces.requestBytes(request)
		}
		whole.answerBytes(b)
		feed(seed, b, pieces.answerBytes)
		if whole.lost != pieces.lost || len(whole.pending) != len(pieces.pending) {
			t.Fatalf("as a whole %v with %d, in pieces %v with %d", whole.lost, len(whole.pending), pieces.lost, len(pieces.pending))
		}
		complete := len(seen.ended)
		whole.over(false)
		pieces.over(false)
		r := bufio.NewReader(bytes.NewReader(b))
		for i, e := range seen.ended {
			if w := wholeSeen.ended[i]; e.Status != w.Status || e.Out != w.Out || !bytes.Equal(e.AnswerBody, w.AnswerBody) {
				t.Fatalf("as a whole %+v, in pieces %+v", w, e)
			}
			if e.Status == 0 || e.Upgraded {
				return
			}
			var answer *http.Response
			for {
				var err error
				answer, err = http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					return // it is stricter about names and values
				}
				if answer.StatusCode >= 200 {
					break
				}
			}
			if answer.StatusCode != e.Status || answer.Proto[:7] != "HTTP/1." {
				t.Fatalf("net/http reads %d, we %d", answer.StatusCode, e.Status)
			}
			if answer.ProtoMinor == 0 && len(answer.TransferEncoding) == 0 && strings.Contains(strings.ToLower(string(e.AnswerHead)), "transfer-encoding") {
				return // which it does not read in HTTP/1.0
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil || i >= complete && !strings.Contains(strings.ToLower(string(e.AnswerHead)), "chunked") && answer.ContentLength >= 0 {
				return
			}
			if int64(len(body)) != e.Out {
				t.Fatalf("net/http reads a body of %d, we of %d: %q", len(body), e.Out, e.AnswerHead)
			}
		}
	})
}
