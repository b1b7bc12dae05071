package sftpclient

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// maxListing is how many bytes of names a server may send for the directories that are being listed: some 200,000
// names. All of them are in memory at once, and a server can make up names without end.
const maxListing = 32 << 20

var errListing = errors.New("the directory has more names than can be listed here")

// listings are the directories that are being listed, and what has come of them.
type listings struct {
	mu     sync.Mutex
	active map[int]context.CancelCauseFunc // under mu
	serial int                             // under mu
	size   int                             // under mu, in bytes
}

// begin counts one more. The context ends with errListing when too much has come.
func (l *listings) begin(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.active) == 0 {
		l.size, l.active = 0, make(map[int]context.CancelCauseFunc)
	}
	l.serial++
	id := l.serial
	l.active[id] = cancel
	return ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.active, id)
		cancel(nil)
	}
}

func (l *listings) add(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size += size; l.size > maxListing {
		for _, cancel := range l.active {
			cancel(errListing)
		}
	}
}

// readDir reads a directory that has an end.
func (c *Client) readDir(ctx context.Context, p string) ([]fs.FileInfo, error) {
	ctx, end := c.listings.begin(ctx)
	defer end()
	infos, err := c.sftp.ReadDirContext(ctx, p)
	if err != nil && context.Cause(ctx) == errListing {
		return nil, failure(CodeFailed, errListing, "%s has more names than can be listed here.", p)
	}
	return infos, err
}

// A countedStream reads along how much of what comes is names.
type countedStream struct {
	io.ReadWriteCloser
	names func(size int)
	head  []byte // of a packet: its length, without itself, and its type
	left  int    // of the packet
}

func (s *countedStream) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	for data := p[:n]; len(data) > 0; {
		if s.left > 0 {
			skipped := min(s.left, len(data))
			s.left, data = s.left-skipped, data[skipped:]
			continue
		}
		s.head, data = append(s.head, data[0]), data[1:]
		if len(s.head) < 5 {
			continue
		}
		const sshFxpName = 104
		s.left = max(int(min(binary.BigEndian.Uint32(s.head), 1<<30))-1, 0)
		if s.head[4] == sshFxpName {
			s.names(s.left)
		}
		s.head = s.head[:0]
	}
	return n, err
}
