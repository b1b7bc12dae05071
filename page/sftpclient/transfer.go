package sftpclient

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/pkg/sftp"
)

// readChunk is how much of a file is passed on at once.
const readChunk = 256 << 10

// A ReadResult says what has been read.
type ReadResult struct {
	Size     int64 // of the whole file
	Modified time.Time
}

// Read reads a file from an offset on. Its bytes go to onChunk one piece after the other, which may keep
// them until it returns. Some 2 MiB are asked for ahead.
func (c *Client) Read(ctx context.Context, p string, from int64, onChunk func(data []byte, position int64) error) (ReadResult, error) {
	return run(ctx, "Reading", p, func() (ReadResult, error) {
		file, err := c.sftp.Open(p)
		if err != nil {
			return ReadResult{}, err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return ReadResult{}, err
		}
		if info.IsDir() {
			return ReadResult{}, failure(CodeFailed, nil, "%s is a directory.", p)
		}
		if _, err := file.Seek(from, io.SeekStart); err != nil {
			return ReadResult{}, err
		}
		chunks := &chunkWriter{ctx: ctx, position: from, onChunk: onChunk, buffer: make([]byte, 0, readChunk), packet: c.packet, whole: info.Mode().IsRegular()}
		if _, err := file.WriteTo(chunks); errors.Is(err, errShort) {
			// What was asked for ahead is behind a gap. One after the other nothing is.
			if _, err = file.Seek(chunks.position+int64(len(chunks.buffer)), io.SeekStart); err == nil {
				chunks.whole = false
				_, err = io.CopyBuffer(chunks, struct{ io.Reader }{file}, make([]byte, c.packet))
			}
			if err != nil {
				return ReadResult{}, err
			}
		} else if err != nil {
			return ReadResult{}, err
		}
		if err := chunks.flush(); err != nil {
			return ReadResult{}, err
		}
		return ReadResult{info.Size(), info.ModTime()}, nil
	})
}

// errShort ends a reading ahead.
var errShort = errors.New("the server has sent less than was asked for, and not at the end")

// A chunkWriter makes larger pieces of packets.
type chunkWriter struct {
	ctx      context.Context
	position int64 // of the buffer's first byte
	onChunk  func([]byte, int64) error
	buffer   []byte
	packet   int // bytes that are asked for at once
	// whole says that all packets but the last one are of full length. Of a file that grows, or from a server that
	// sends less at once, they aren't, and what was asked for ahead leaves a gap behind each.
	whole bool
	short bool // the last one was not
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	if w.whole && w.short && len(p) > 0 {
		return 0, errShort
	}
	w.short = len(p) < w.packet
	written := 0
	for len(p) > 0 {
		n := copy(w.buffer[len(w.buffer):cap(w.buffer)], p)
		w.buffer = w.buffer[:len(w.buffer)+n]
		p, written = p[n:], written+n
		if len(w.buffer) == cap(w.buffer) {
			if err := w.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, w.ctx.Err()
}

func (w *chunkWriter) flush() error {
	if err := w.ctx.Err(); err != nil || len(w.buffer) == 0 {
		return err
	}
	err := w.onChunk(w.buffer, w.position)
	w.position += int64(len(w.buffer))
	w.buffer = w.buffer[:0]
	return err
}

// partSuffix is that of a file whose bytes have not all come.
const partSuffix = ".part"

// WriteOptions say how to write a file.
type WriteOptions struct {
	// Size is how much there will be, in bytes. It is checked at the end, unless it is negative.
	Size int64
	// Resume goes on behind what a cut transfer has left.
	Resume bool
}

// Write writes a file of what next returns: the bytes at a position, one piece after the other, and nil
// at the end. With Resume the first position is the length of what is there of the part, otherwise 0.
//
// They go to path.part, which replaces path in one step when all of them are on the server's disk. What was cut
// stays, without holes. Servers without posix-rename have a moment without either.
func (c *Client) Write(ctx context.Context, p string, o WriteOptions, next func(position int64) ([]byte, error)) error {
	return do(ctx, "Writing", p, func() error {
		target, mode, err := c.target(p)
		if err != nil {
			return err
		}
		part := target + partSuffix
		file, position, err := c.openPart(part, o)
		if err != nil {
			return explain(err, "Writing", part)
		}
		source := &chunkReader{ctx: ctx, position: position, next: next}
		// Requests leave in order, and servers follow them in order: what has been written when the connection
		// ends has no holes.
		if _, err := file.ReadFromWithConcurrency(source, 0); err != nil {
			var status *sftp.StatusError
			if errors.As(err, &status) || source.err != nil {
				// Others behind the one that failed may have succeeded.
				if end, seekErr := file.Seek(0, io.SeekCurrent); seekErr == nil {
					_ = file.Truncate(end)
				}
			}
			file.Close()
			if source.err != nil && ctx.Err() == nil {
				return source.err // as whoever gives the bytes said it
			}
			return err
		}
		if o.Size >= 0 && source.position != o.Size {
			file.Close()
			return failure(CodeFailed, nil, "%s was to have %d bytes and has %d: it has changed meanwhile.", p, o.Size, source.position)
		}
		if _, ok := c.sftp.HasExtension("fsync@openssh.com"); ok {
			if err := file.Sync(); err != nil {
				file.Close()
				return err
			}
		}
		if mode != nil {
			_ = file.Chmod(*mode) // as far as the server lets us
		}
		if err := file.Close(); err != nil {
			return err
		}
		return c.replace(part, target)
	})
}

// target returns which file is written in the end, and its permissions if it is there: a link stays one.
func (c *Client) target(p string) (string, *fs.FileMode, error) {
	info, err := c.sftp.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil, nil
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		real, realErr := c.sftp.RealPath(p)
		if realErr != nil {
			return p, nil, nil // it leads nowhere, and is replaced
		}
		p = real
		info, err = c.sftp.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return p, nil, nil
		}
	}
	if err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() {
		return "", nil, failure(CodeExists, nil, "%s is there already, and is no file.", p)
	}
	mode := info.Mode()
	return p, &mode, nil
}

// openPart opens the part, and returns where to go on.
func (c *Client) openPart(part string, o WriteOptions) (*sftp.File, int64, error) {
	if info, err := c.sftp.Lstat(part); err == nil && !info.Mode().IsRegular() {
		// A link could lead anywhere.
		return nil, 0, failure(CodeExists, nil, "%s is there already, and is no file.", part)
	}
	flags := os.O_WRONLY | os.O_CREATE
	if !o.Resume {
		flags |= os.O_TRUNC
	}
	file, err := c.sftp.OpenFile(part, flags)
	if err != nil || !o.Resume {
		return file, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	position := info.Size()
	if o.Size >= 0 && position > o.Size {
		// It is of another file.
		if err := file.Truncate(0); err != nil {
			file.Close()
			return nil, 0, err
		}
		position = 0
	}
	if _, err := file.Seek(position, io.SeekStart); err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, position, nil
}

// replace renames the part over the target.
func (c *Client) replace(part, target string) error {
	if _, ok := c.sftp.HasExtension("posix-rename@openssh.com"); ok {
		return c.sftp.PosixRename(part, target)
	}
	if err := c.sftp.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.sftp.Rename(part, target)
}

// A chunkReader reads what next returns.
type chunkReader struct {
	ctx      context.Context
	position int64 // behind what next has returned
	next     func(int64) ([]byte, error)
	rest     []byte
	ended    bool
	err      error
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err == nil {
			r.err = r.ctx.Err()
		}
		if r.err != nil {
			return 0, r.err
		}
		if r.ended {
			return 0, io.EOF
		}
		if r.rest, r.err = r.next(r.position); r.err == nil && r.rest == nil {
			r.ended = true
		}
		r.position += int64(len(r.rest))
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
