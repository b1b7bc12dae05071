package tap

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// nobody is a Watcher without interest.
type nobody struct{}

func (nobody) Lasts(Exchange) {}
func (nobody) Ends(*Exchange) {}

// What a small request costs here, with its two sides that are no part of it.
// Compare with BenchmarkWithoutTap.
func BenchmarkSmallRequests(b *testing.B) {
	small(b, func(service *Address) string {
		l := listen(b)
		tap := &Tap{Service: service, Watcher: nobody{}, Counters: &Counters{}}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go tap.Serve(b.Context(), tcpStream{c.(*net.TCPConn)})
			}
		}()
		return l.Addr().String()
	})
}

func BenchmarkWithoutTap(b *testing.B) {
	small(b, func(service *Address) string { return net.JoinHostPort(service.Host, service.Port) })
}

const benchRequest = "GET /some/path?of=a&usual=length HTTP/1.1\r\nHost: 0123456789abcdef.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n"

func small(b *testing.B, through func(*Address) string) {
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}")
	l := listen(b)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := io.ReadFull(c, buf[:len(benchRequest)]); err != nil {
						return
					}
					_, _ = c.Write(answer)
				}
			}()
		}
	}()
	at := through(addressOf(l.Addr().String()))
	proxy, err := net.Dial("tcp", at)
	if err != nil {
		b.Fatal(err)
	}
	defer proxy.Close()
	buf := make([]byte, len(answer))
	b.ReportAllocs()
	before := processorTime()
	b.ResetTimer()
	for range b.N {
		fmt.Fprint(proxy, benchRequest)
		if _, err := io.ReadFull(proxy, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// What the observer alone costs of it.
func BenchmarkWatch(b *testing.B) {
	w := newWatch(&Tap{Watcher: nobody{}, Counters: &Counters{}}, "", nil)
	request := []byte(benchRequest)
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}")
	b.ReportAllocs()
	for b.Loop() {
		w.requestBytes(request)
		w.answerBytes(answer)
	}
}

// A download of b.N MiB.
func BenchmarkDownload(b *testing.B) {
	l := listen(b)
	chunk := make([]byte, 1<<20)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(int64(b.N)<<20))
			for range b.N {
				_, _ = w.Write(chunk)
			}
		}))
	}()
	front := listen(b)
	tap := &Tap{Service: addressOf(l.Addr().String()), Watcher: nobody{}, Counters: &Counters{}}
	go func() {
		c, err := front.Accept()
		if err == nil {
			tap.Serve(b.Context(), tcpStream{c.(*net.TCPConn)})
		}
	}()
	b.SetBytes(1 << 20)
	proxy, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer proxy.Close()
	fmt.Fprint(proxy, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	before := processorTime()
	buf := make([]byte, 256<<10)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{proxy}, buf)
	if err != nil || n < int64(b.N)<<20 {
		b.Fatal(n, err)
	}
	b.ReportMetric((processorTime()-before).Seconds()*1024/float64(b.N), "cpu-s/GiB")
}
