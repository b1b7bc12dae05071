package sftpclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// A fakeSite is a server that says of one file, and of directories, what a test wants.
type fakeSite struct {
	file    io.ReaderAt
	size    int64
	entries func(int64) ([]os.FileInfo, error)
}

func (f fakeSite) Fileread(*sftp.Request) (io.ReaderAt, error)  { return f.file, nil }
func (f fakeSite) Filewrite(*sftp.Request) (io.WriterAt, error) { return nil, errors.ErrUnsupported }
func (f fakeSite) Filecmd(*sftp.Request) error                  { return errors.ErrUnsupported }
func (f fakeSite) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "List" {
		return lister(f.entries), nil
	}
	return lister(func(at int64) ([]os.FileInfo, error) {
		if at > 0 {
			return nil, io.EOF
		}
		return []os.FileInfo{fakeInfo{"file", f.size}}, nil
	}), nil
}

type lister func(int64) ([]os.FileInfo, error)

func (l lister) ListAt(to []os.FileInfo, at int64) (int, error) {
	infos, err := l(at)
	return copy(to, infos), err
}

type fakeInfo struct {
	name string
	size int64
}

func (i fakeInfo) Name() string     { return i.name }
func (i fakeInfo) Size() int64      { return i.size }
func (fakeInfo) Mode() os.FileMode  { return 0o644 }
func (fakeInfo) ModTime() time.Time { return time.Unix(1, 0) }
func (fakeInfo) IsDir() bool        { return false }
func (fakeInfo) Sys() any           { return nil }

func fake(t *testing.T, f fakeSite) site {
	t.Helper()
	near, far := net.Pipe()
	server := sftp.NewRequestServer(far, sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f})
	go func() { _ = server.Serve() }()
	t.Cleanup(func() { server.Close() })
	c, err := New(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return site{Client: c}
}

// readerAt reads as a test wants it.
type readerAt func([]byte, int64) (int, error)

func (r readerAt) ReadAt(p []byte, at int64) (int, error) { return r(p, at) }

func TestReadOfShortAnswersHasNoGaps(t *testing.T) {
	t.Parallel()
	data := noise(1<<20 + 7)
	for _, most := range []int{1000, 16 << 10, 32<<10 - 1} {
		s := fake(t, fakeSite{size: int64(len(data)), file: readerAt(func(p []byte, at int64) (int, error) {
			return bytes.NewReader(data).ReadAt(p[:min(most, len(p))], at)
		})})
		for _, from := range []int64{0, 5} {
			if got, _, err := s.all(t.Context(), "file", from); err != nil || !bytes.Equal(got, data[from:]) {
				t.Errorf("by %d bytes from %d there are %d of %d, %v", most, from, len(got), int64(len(data))-from, err)
			}
		}
	}
}

func TestDirectoryWithoutEnd(t *testing.T) {
	t.Parallel()
	s := fake(t, fakeSite{entries: func(at int64) ([]os.FileInfo, error) {
		infos := make([]os.FileInfo, 100)
		for i := range infos {
			infos[i] = fakeInfo{name: strconv.FormatInt(at+int64(i), 10)}
		}
		return infos, nil
	}})
	_, err := s.List(t.Context(), "/")
	expectCode(t, err, CodeFailed, "more names than")
}
