package http1

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
)

var chunkedCases = []struct{ name, in, out string }{ // out "!" = as it is
	{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"},
	{"several", "5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\n\r\n", "hello, world"},
	{"none", "0\r\n\r\n", ""},
	{"hex of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
	{"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"},
	{"extensions", "5;a=b;c\r\nhello\r\n0;d=\"e\"\r\n\r\n", "hello"},
	{"space before an extension", "5 ;a\r\nhello\r\n0 \t\r\n\r\n", "hello"},
	{"trailers", "5\r\nhello\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", "hello"},
	{"line ends within", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
	{"a chunked body within, of another length", "e\r\n5\r\nhello\r\n0\r\n\r\n0\r\n\r\n", "!"},

	{"decoded before", "hello", "!"},
	{"nothing", "", "!"},
	{"no number", "xyz\r\nhello\r\n", "!"},
	{"JSON", "{\"a\":\r\n1}", "!"},
	{"a number without its line", "5", "!"},
	{"a line that ends with LF alone", "5\nhello\n0\n\n", "!"},
	{"a CR within the first line", "5;a\rb\r\nhello\r\n0\r\n\r\n", "!"},
	{"an LF within the first line", "5;a\nb\r\nhello\r\n0\r\n\r\n", "!"},
	{"a negative size", "-5\r\nhello\r\n0\r\n\r\n", "!"},
	{"a sign", "+5\r\nhello\r\n0\r\n\r\n", "!"},
	{"a prefix", "0x5\r\nhello\r\n0\r\n\r\n", "!"},
	{"an underscore", "0_5\r\nhello\r\n0\r\n\r\n", "!"},
	{"a size above all bounds", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "!"},
	{"a first line without an end", strings.Repeat("0", 10<<10), "!"},

	{"cut within a chunk", "5\r\nhel", "!"},
	{"cut after a chunk", "5\r\nhello", "!"},
	{"cut in its end", "5\r\nhello\r", "!"},
	{"without the last chunk", "5\r\nhello\r\n", "!"},
	{"cut in the trailer", "5\r\nhello\r\n0\r\nA: 1\r\n", "!"},
	{"without the last line", "5\r\nhello\r\n0\r\n", "!"},
	{"longer than it says", "4\r\nhello\r\n0\r\n\r\n", "!"},
	{"shorter than it says", "6\r\nhello\r\n0\r\n\r\n", "!"},
	{"the largest size", "7fffffff\r\nhello\r\n0\r\n\r\n", "!"},
	{"no size later", "5\r\nhello\r\nx\r\n\r\n", "!"},
	{"a CR within a later line", "5\r\nhello\r\n0;\ra\r\n\r\n", "!"},
	{"an LF within a later line", "5\r\nhello\r\n0;\na\r\n\r\n", "!"},
	{"a CR within the trailer", "5\r\nhello\r\n0\r\nA: \r1\r\n\r\n", "!"},
	{"a second line too long", "5\r\nhello\r\n0;" + strings.Repeat("a", 5<<10) + "\r\n\r\n", "!"},
	{"something behind it", "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", "!"},
}

func TestChunkedBodies(t *testing.T) {
	for _, c := range chunkedCases {
		got, ok := Unchunk([]byte(c.in))
		want := c.out
		if want == "!" {
			want = c.in
		}
		if ok != (c.out != "!") || string(got) != want {
			t.Errorf("%s: read as %q, %t", c.name, got, ok)
		}
	}
}

// The same bytes are read by the standard library, which leaves trailers alone.
// What is well-formed here must be the same there; what is not comes back as it
// is. And what its writer writes is read back.
func FuzzChunked(f *testing.F) {
	for _, c := range chunkedCases {
		f.Add([]byte(c.in), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		got, ok := Unchunk(bytes.Clone(in))
		if !ok && !bytes.Equal(got, in) {
			t.Fatalf("%q is no chunked body and became %q", in, got)
		}
		if ok {
			theirs, theirErr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
			switch {
			case theirErr != nil && !bytes.ContainsAny(in, " \t") && !manySmall(in):
				t.Fatalf("%q is read as %q; the standard library says %v", in, got, theirErr)
			case theirErr == nil && !bytes.Equal(theirs, got):
				t.Fatalf("%q is read as %q; by the standard library as %q", in, got, theirs)
			}
		}

		var chunked bytes.Buffer
		w := httputil.NewChunkedWriter(&chunked)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), 1+int(cut)%97)
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		_ = w.Close()
		chunked.WriteString("\r\n")
		if got, ok := Unchunk(chunked.Bytes()); !ok || !bytes.Equal(got, in) {
			t.Fatalf("%q in chunks is read back as %q, %t", in, got, ok)
		}
	})
}

// manySmall reports whether the standard library may refuse a body for
// being mostly lines: it does from 16 KiB on.
func manySmall(in []byte) bool { return len(in) > 16<<10 }

func BenchmarkUnchunk(b *testing.B) {
	for _, chunk := range []int{100, 8 << 10} {
		b.Run(fmt.Sprint(chunk), func(b *testing.B) {
			var chunked bytes.Buffer
			w := httputil.NewChunkedWriter(&chunked)
			for range (64 << 10) / chunk {
				_, _ = w.Write(testkit.Pattern(chunk))
			}
			_ = w.Close()
			chunked.WriteString("\r\n")
			room := make([]byte, chunked.Len())
			b.SetBytes(int64(chunked.Len()))
			b.ReportAllocs()
			for b.Loop() {
				copy(room, chunked.Bytes())
				if _, ok := Unchunk(room); !ok {
					b.Fatal("it is not well-formed")
				}
			}
		})
	}
}
