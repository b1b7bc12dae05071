package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// headTimeout bounds how long the head of a request may take, and idleTimeout how
// long a connection waits for one. It is longer than the proxy's own patience, which
// so ends connections, and never meets one that is about to be closed.
const (
	headTimeout = 30 * time.Second
	idleTimeout = 2 * time.Minute
)

// A Site is a folder that is served. Close ends it.
type Site struct {
	name   string
	root   *os.Root
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	close  sync.Once
}

// Open begins to serve a folder. What a symbolic link in it leads out to is not
// served, nor anything whose name begins with a dot.
func Open(folder string) (*Site, error) {
	if rest, ok := strings.CutPrefix(folder, "~"); ok && (rest == "" || rest[0] == '/') {
		if home, err := os.UserHomeDir(); err == nil {
			folder = filepath.Join(home, rest)
		}
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder %s can't be served: %w", folder, reason(err))
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: name the folder that it is in", folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder %s can't be served: %w", folder, reason(err))
	}
	s := &Site{name: folder, root: root, conns: make(chan net.Conn), done: make(chan struct{})}
	s.server = &http.Server{
		Handler:           http.FileServerFS(visible{root.FS()}),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(discard{}, "", 0),
	}
	go func() { _ = s.server.Serve(listener{s}) }()
	return s, nil
}

// reason is the error without the path, which the sentence has.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// String returns the folder.
func (s *Site) String() string { return s.name }

// Dial returns a connection to the site's server.
func (s *Site) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.done:
	case <-ctx.Done():
	}
	_ = near.Close()
	_ = far.Close()
	return nil, errors.New("the folder is not served any more")
}

// Close ends all connections.
func (s *Site) Close() {
	s.close.Do(func() {
		close(s.done)
		_ = s.server.Close()
		_ = s.root.Close()
	})
}

// A listener hands out what was dialed.
type listener struct{ site *Site }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.site.conns:
		return c, nil
	case <-l.site.done:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// visible is a folder without what begins with a dot.
type visible struct{ fs.FS }

// Open opens what is no secret. What can't be opened for another reason than that it
// isn't there, such as a link that leads out, isn't there either.
func (v visible) Open(name string) (fs.File, error) {
	if name != "." {
		for part := range strings.SplitSeq(name, "/") {
			if strings.HasPrefix(part, ".") {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
		}
	}
	// A device or a pipe could be read for ever, and opening a pipe alone waits for its
	// other end, with a thread for each request.
	info, err := fs.Stat(v.FS, name)
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	file, err := v.FS.Open(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if dir, ok := file.(fs.ReadDirFile); ok {
		return visibleDir{dir, v, name}, nil
	}
	return file, nil
}

// visibleDir lists what visible opens. Files have it too, and their other methods.
type visibleDir struct {
	fs.ReadDirFile
	in   visible
	name string
}

// Seek is asked of files, for ranges.
func (d visibleDir) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := d.ReadDirFile.(interface {
		Seek(offset int64, whence int) (int64, error)
	})
	if !ok {
		return 0, fs.ErrInvalid
	}
	return seeker.Seek(offset, whence)
}

// ReadDir lists the folder.
func (d visibleDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := d.ReadDirFile.ReadDir(n)
	kept := entries[:0]
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 { // shown only if it leads to what is served
			file, err := d.in.Open(path.Join(d.name, e.Name()))
			if err != nil {
				continue
			}
			_ = file.Close()
		}
		kept = append(kept, e)
	}
	return kept, err
}
