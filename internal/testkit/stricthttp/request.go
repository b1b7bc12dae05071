package stricthttp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// A Request is a request that is well-formed.
type Request struct {
	Line     string   // with its end
	Fields   []string // "Name: value", in order
	Body     string
	Trailers []string // as Fields
}

var (
	lineForm  = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+ [!-~\x80-\xff]+ HTTP/1\.1\r\n$`)
	fieldForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ([^\\x00-\\x20\\x7f]([^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?)?\\r\\n$")
	chunkForm = regexp.MustCompile(`^[1-9A-Fa-f][0-9A-Fa-f]{0,7}\r\n$`)
)

// Read reads one request. Its error is io.EOF if there is none, and wraps
// io.ErrUnexpectedEOF if its end is missing.
func Read(in *bufio.Reader) (r Request, err error) {
	if r.Line, err = in.ReadString('\n'); err != nil {
		if r.Line != "" {
			err = bad("request line", r.Line, err)
		}
		return r, err
	}
	if !matches(lineForm, r.Line) {
		return r, fmt.Errorf("a bad request line: %q", r.Line)
	}
	if r.Fields, err = readFields(in); err != nil {
		return r, err
	}
	if hosts := r.Values("Host"); len(hosts) != 1 {
		return r, fmt.Errorf("the hosts are %q", hosts)
	}
	lengths, codings := r.Values("Content-Length"), r.Values("Transfer-Encoding")
	switch {
	case len(lengths) == 1 && len(codings) == 0:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil {
			return r, err
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			return r, bad("body", "", err)
		}
		r.Body = string(body)
	case len(codings) == 1 && codings[0] == "chunked" && len(lengths) == 0:
		return r, r.readChunks(in)
	case len(lengths)+len(codings) > 0:
		return r, fmt.Errorf("lengths %q and codings %q", lengths, codings)
	}
	return r, nil
}

// matches works on bytes: regexp takes what is not UTF-8 for U+FFFD.
func matches(form *regexp.Regexp, line string) bool {
	text := make([]rune, len(line))
	for i := range len(line) {
		text[i] = rune(line[i])
	}
	return form.MatchString(string(text))
}

func (r *Request) readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err == nil && line == "0\r\n" {
			r.Trailers, err = readFields(in)
			return err
		}
		if err != nil || !matches(chunkForm, line) {
			return bad("chunk", line, err)
		}
		n, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 32)
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil || string(chunk[n:]) != "\r\n" {
			return bad("chunk's end", "", err)
		}
		r.Body += string(chunk[:n])
	}
}

func readFields(in *bufio.Reader) (fields []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if line == "\r\n" {
			return fields, nil
		}
		if err != nil || !matches(fieldForm, line) {
			return fields, bad("field", line, err)
		}
		fields = append(fields, strings.TrimSuffix(line, "\r\n"))
	}
}

// bad says that a part is malformed, or missing.
func bad(part, line string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.ErrUnexpectedEOF
	} else if err == nil {
		err = errors.New("malformed")
	}
	return fmt.Errorf("a bad %s: %q, %w", part, line, err)
}

// Values returns the values of a field, in order.
func (r *Request) Values(name string) (values []string) {
	for _, field := range r.Fields {
		if n, value, _ := strings.Cut(field, ": "); strings.EqualFold(n, name) {
			values = append(values, value)
		}
	}
	return values
}
