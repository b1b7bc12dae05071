package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// versus measures ours and theirs in turns, so that what else the machine does
// falls on both, and reports how many times as long theirs takes.
func versus(b *testing.B, size int, ours, theirs func()) {
	var our, their time.Duration
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		start := time.Now()
		ours()
		our += time.Since(start)
		b.StopTimer()
		start = time.Now()
		theirs()
		their += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(their)/float64(our), "encoding/json-ratio")
}

func benchBody(n int) []byte {
	return bytes.Repeat([]byte(`{"name":"value","text":"a line\n"}`+"\n"), n/35+1)[:n]
}

func BenchmarkDecodeControl(b *testing.B) {
	for _, n := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			body, err := json.Marshal(string(benchBody(n)))
			if err != nil {
				b.Fatal(err)
			}
			in := []byte(`{"type":"http_response","id":"0123456789ab","status":200,"headers":{"Content-Type":"application/json","Cache-Control":"no-store"},"body":` + string(body) + `}`)
			room := make([]byte, len(in))
			versus(b, len(in), func() {
				copy(room, in)
				if _, err := DecodeControl(room); err != nil {
					b.Fatal(err)
				}
			}, func() {
				var m struct {
					Type, ID, Body, BodyEncoding string
					Status                       int
					Headers                      map[string]any
				}
				if err := json.Unmarshal(in, &m); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	for _, n := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			r := Request{
				ID: "0123456789ab", Method: "POST", Path: "/api/items?page=2", Body: benchBody(n),
				Headers: []Field{{"Content-Type", "application/json"}, {"User-Agent", "benchmark"}, {"X-Forwarded-For", "203.0.113.9"}},
			}
			headers := make(map[string]string)
			for _, f := range r.Headers {
				headers[f.Name] = f.Value
			}
			versus(b, n, func() { EncodeRequest(r) }, func() {
				_, err := json.Marshal(struct {
					Type    string            `json:"type"`
					ID      string            `json:"id"`
					Method  string            `json:"method"`
					Path    string            `json:"path"`
					Headers map[string]string `json:"headers"`
					Body    string            `json:"body"`
				}{"http_request", r.ID, r.Method, r.Path, headers, string(r.Body)})
				if err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
