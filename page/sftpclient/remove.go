package sftpclient

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"sync"
)

// maxDepth is deeper than a path can be, and bounds what a server can make up.
const maxDepth = 256

// Remove removes a file, a link (not what it leads to), or a directory; one that isn't empty only
// when it is recursive.
func (c *Client) Remove(ctx context.Context, p string, recursive bool) error {
	return do(ctx, "Removing", p, func() error {
		info, err := c.sftp.Lstat(p)
		if err != nil {
			return err
		}
		return c.remove(ctx, p, info.IsDir(), recursive, 0)
	})
}

func (c *Client) remove(ctx context.Context, p string, isDir, recursive bool, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isDir {
		return gone(c.sftp.Remove(p), p)
	}
	if depth > maxDepth {
		return failure(CodeFailed, nil, "%s is nested too deeply to be removed.", p)
	}
	infos, err := c.readDir(ctx, p)
	if err != nil {
		return gone(err, p)
	}
	if len(infos) > 0 && !recursive {
		return failure(CodeFailed, nil, "%s is not empty.", p)
	}
	var directories, others []fs.FileInfo
	for _, info := range infos {
		switch {
		case !safeName(info.Name()):
		case info.IsDir(): // no link to one
			directories = append(directories, info)
		default:
			others = append(others, info)
		}
	}
	var mu sync.Mutex
	var firstErr error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if firstErr == nil {
			firstErr = err
		}
	}
	eachTogether(others, func(info *fs.FileInfo) {
		inner := path.Join(p, (*info).Name())
		if err := c.remove(ctx, inner, false, true, depth+1); err != nil {
			fail(err)
		}
	})
	for _, info := range directories {
		inner := path.Join(p, info.Name())
		if err := c.remove(ctx, inner, true, true, depth+1); err != nil {
			fail(err)
		}
	}
	if firstErr != nil {
		return firstErr
	}
	return gone(c.sftp.RemoveDirectory(p), p)
}

// gone takes what has gone by itself for removed, and names in other errors what they are about.
func gone(err error, p string) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return explain(err, "Removing", p)
}

func decimal(id uint32) string { return strconv.FormatUint(uint64(id), 10) }
