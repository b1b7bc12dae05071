package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of the files. The set has nothing secret in it, and the server, which reads
// it, may be another user.
const (
	privateMode = 0o600
	publicMode  = 0o644
	dirMode     = 0o755
)

// put writes a file in one step: who reads it sees the old content or the new one.
// Unless it may replace one, a file that is there is an error, fs.ErrExist.
func put(path string, content []byte, mode fs.FileMode, replace bool) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		temporary.Close()
		_ = os.Remove(temporary.Name()) // it is there no more if it was renamed
	}()
	if _, err := temporary.Write(content); err != nil {
		return err
	}
	if mode != privateMode {
		if err := temporary.Chmod(mode); err != nil {
			return err
		}
	}
	if err := temporary.Sync(); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if replace {
		return os.Rename(temporary.Name(), path)
	}
	err = os.Link(temporary.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links: this is as near as it can be had.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(temporary.Name(), path)
}

// keep gives a file a second name, for its first one will be another's.
func keep(path, second string) error {
	err := os.Link(path, second)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(second); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "create", Path: second, Err: fs.ErrExist}
	}
	return os.Rename(path, second)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// readBounded reads a whole file of at most maxSetBytes, which is more than any key
// has.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxSetBytes+1))
	if err == nil && len(raw) > maxSetBytes {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxSetBytes)
	}
	return raw, err
}
