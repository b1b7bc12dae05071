package sftpclient

import (
	"context"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

const (
	// together is how many small requests are under way at once. It hides the time that
	// each takes there and back, and stays below what servers queue.
	together = 16
	// ahead is how many bytes of a file are under way at once: as much as the window of the channel
	// beneath.
	ahead = 2 << 20
	// smallPacket is how many bytes of a file are in a packet that every server takes.
	smallPacket = 32 << 10
	// largePacket is the same for servers that tell their limits. All that are known to do so take 255 KiB
	// or more. Each packet has an answer, which costs a browser as much as some of the bytes do.
	largePacket = 128 << 10
)

// A Client transfers files. Any goroutine may call its methods.
type Client struct {
	sftp     *sftp.Client
	packet   int // bytes of a file in one packet
	listings *listings
	over     chan struct{}
}

// New starts SFTP over a stream to a server's subsystem, which it owns from then on.
func New(stream io.ReadWriteCloser) (*Client, error) {
	listed := &listings{}
	client, err := sftp.NewClientPipe(&countedStream{ReadWriteCloser: stream, names: listed.add}, stream,
		sftp.MaxConcurrentRequestsPerFile(ahead/smallPacket), sftp.UseFstat(true))
	if err != nil {
		stream.Close()
		return nil, failure(CodeFailed, err, "The server transfers no files: it does not speak SFTP (%s).", said(err.Error()))
	}
	c := &Client{sftp: client, packet: smallPacket, listings: listed, over: make(chan struct{})}
	if _, ok := client.HasExtension("limits@openssh.com"); ok {
		// What the server has is known only now, when nobody uses the client yet.
		c.packet = largePacket
		_ = sftp.MaxPacketUnchecked(largePacket)(client)
		_ = sftp.MaxConcurrentRequestsPerFile(ahead / largePacket)(client)
	}
	go func() {
		_ = client.Wait()
		close(c.over)
	}()
	return c, nil
}

// Close ends the transfers.
func (c *Client) Close() { _ = c.sftp.Close() }

// Ended is closed when the server can be asked no more.
func (c *Client) Ended() <-chan struct{} { return c.over }

// Types of entries.
const (
	TypeFile      = "file"
	TypeDirectory = "directory"
	TypeLink      = "link"
	TypeOther     = "other"
)

// An Entry is a file, a directory, or something else that has a name.
type Entry struct {
	Name, Path   string
	Size         int64
	Modified     time.Time
	Mode         uint32 // the permission bits, as in chmod
	Type         string
	Target       string // of a link
	Owner, Group string // numbers, or empty
}

// RealPath makes a path absolute, and resolves what the server resolves of it.
func (c *Client) RealPath(ctx context.Context, p string) (string, error) {
	return run(ctx, "Finding", p, func() (string, error) { return c.sftp.RealPath(p) })
}

// List returns what is in a directory, without "." and "..", in no order.
func (c *Client) List(ctx context.Context, p string) ([]Entry, error) {
	return run(ctx, "Listing", p, func() ([]Entry, error) {
		infos, err := c.readDir(ctx, p)
		if err != nil {
			return nil, err
		}
		entries := make([]Entry, 0, len(infos))
		for _, info := range infos {
			if safeName(info.Name()) {
				entries = append(entries, entryOf(info, path.Join(p, info.Name())))
			}
		}
		eachTogether(entries, func(e *Entry) {
			if e.Type == TypeLink {
				e.Target, _ = c.sftp.ReadLink(e.Path) // which may go meanwhile
			}
		})
		return entries, nil
	})
}

// safeName reports whether a name stays in its directory.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// Stat returns what is at a path; of a link what it leads to.
func (c *Client) Stat(ctx context.Context, p string) (Entry, error) {
	return run(ctx, "Looking at", p, func() (Entry, error) {
		info, err := c.sftp.Stat(p)
		if err != nil {
			return Entry{}, err
		}
		e := entryOf(info, p)
		e.Name = path.Base(p)
		return e, nil
	})
}

func entryOf(info fs.FileInfo, p string) Entry {
	e := Entry{Name: info.Name(), Path: p, Size: info.Size(), Modified: info.ModTime(), Mode: permissions(info.Mode())}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		e.Type = TypeFile
	case mode.IsDir():
		e.Type = TypeDirectory
	case mode&fs.ModeSymlink != 0:
		e.Type = TypeLink
	default:
		e.Type = TypeOther
	}
	if stat, ok := info.Sys().(*sftp.FileStat); ok {
		e.Owner, e.Group = decimal(stat.UID), decimal(stat.GID)
	}
	return e
}

// permissions are the bits of chmod.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// Mkdir makes a directory.
func (c *Client) Mkdir(ctx context.Context, p string) error {
	return do(ctx, "Making", p, func() error {
		err := c.sftp.Mkdir(p)
		if err != nil && c.exists(p) {
			return fs.ErrExist // servers of version 3 have no code for it
		}
		return err
	})
}

// Rename renames, and replaces nothing: it fails with [CodeExists].
func (c *Client) Rename(ctx context.Context, from, to string) error {
	if c.exists(to) {
		return explain(fs.ErrExist, "Renaming", to)
	}
	return do(ctx, "Renaming", from, func() error { return c.sftp.Rename(from, to) })
}

func (c *Client) exists(p string) bool {
	_, err := c.sftp.Lstat(p)
	return err == nil
}

// run runs what can't be called off, and leaves it behind when the context ends.
func run[T any](ctx context.Context, doing, p string, work func() (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := work()
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, explain(o.err, doing, p)
	case <-ctx.Done():
		var none T
		return none, explain(ctx.Err(), doing, p)
	}
}

func do(ctx context.Context, doing, p string, work func() error) error {
	_, err := run(ctx, doing, p, func() (struct{}, error) { return struct{}{}, work() })
	return err
}

// eachTogether calls f for each of the elements, some at the same time.
func eachTogether[T any](all []T, f func(*T)) {
	var working sync.WaitGroup
	room := make(chan struct{}, together)
	for i := range all {
		room <- struct{}{}
		working.Go(func() {
			defer func() { <-room }()
			f(&all[i])
		})
	}
	working.Wait()
}
