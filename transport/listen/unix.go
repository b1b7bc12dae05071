package listen

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// OpenUnix listens on a Unix socket, which has mode from the first moment on. A socket at
// path on which nobody listens is one that a server has left behind, and is replaced;
// anything else there is an error. Close removes the socket, unless another server's has
// taken its place.
func OpenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := isFree(path); err != nil {
		return nil, err
	}
	// What is bound has a mode that the umask leaves, until that is changed: so it is bound
	// under a name that nobody knows.
	var random [6]byte
	_, _ = rand.Read(random[:])
	hidden := filepath.Join(filepath.Dir(path), "."+hex.EncodeToString(random[:]))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	opened := &unixListener{UnixListener: l, path: path}
	if err = os.Chmod(hidden, mode); err == nil {
		if err = os.Rename(hidden, path); err == nil {
			opened.info, err = os.Lstat(path)
		}
	}
	if err != nil {
		_ = os.Remove(hidden)
		l.Close()
		return nil, err
	}
	return opened, nil
}

// unixTimeout bounds the question whether somebody listens.
const unixTimeout = 2 * time.Second

// isFree returns nil if there is nothing at path but what may be replaced.
func isFree(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there already, and no socket: remove it, or name another path", path)
	}
	conn, err := net.DialTimeout("unix", path, unixTimeout)
	if err == nil {
		conn.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil { // it is full, or not ours to ask
		return fmt.Errorf("whether a server listens at %s can't be told: %w", path, err)
	}
	return fmt.Errorf("a server listens at %s already", path)
}

// A unixListener has the name that clients know.
type unixListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo // of the socket
}

// Addr returns the path.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close closes the listener and removes its socket.
func (l *unixListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}
