package sftpclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

func TestRead(t *testing.T) {
	t.Parallel()
	s := start(t)
	data := noise(5<<20 + 123)
	p := s.write(t, "file", data)
	for _, from := range []int64{0, 1, 4 << 20, int64(len(data)) - 1, int64(len(data)), int64(len(data)) + 9} {
		got, result, err := s.all(t.Context(), p, from)
		if err != nil || !bytes.Equal(got, data[min(from, int64(len(data))):]) || result.Size != int64(len(data)) || time.Since(result.Modified) > time.Hour {
			t.Errorf("from %d: %d bytes, %+v, %v", from, len(got), result, err)
		}
	}
	if got, _, err := s.all(t.Context(), s.write(t, "empty", nil), 0); err != nil || len(got) != 0 {
		t.Errorf("an empty file has %q, %v", got, err)
	}
	// What says that it has no size has some all the same.
	if got, _, err := s.all(t.Context(), "/proc/self/cmdline", 0); err != nil || len(got) == 0 {
		t.Errorf("a file without a size has %q, %v", got, err)
	}
	_, _, err := s.all(t.Context(), s.path("none"), 0)
	expectCode(t, err, CodeNotFound)
	_, _, err = s.all(t.Context(), s.dir, 0)
	expectCode(t, err, CodeFailed, "directory")
}

func TestReadIsCalledOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.write(t, "file", noise(8<<20))
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := s.Read(ctx, p, 0, func([]byte, int64) error {
		calls++
		cancel()
		return nil
	})
	expectCode(t, err, CodeCancelled)
	if calls != 1 {
		t.Errorf("%d pieces came, want 1", calls)
	}
	_, err = s.Read(t.Context(), p, 0, func([]byte, int64) error { return errors.New("the disk is full") })
	expectCode(t, err, CodeFailed, "the disk is full")
	if _, _, err := s.all(t.Context(), p, 0); err != nil {
		t.Errorf("the next one fails: %v", err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, size := range []int{0, 1, 32 << 10, 5<<20 + 7} {
		data := noise(size)
		if err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: int64(size)}, pieces(data, 100_000)); err != nil {
			t.Fatal(err)
		}
		if got := s.read(t, "file"); !bytes.Equal(got, data) {
			t.Errorf("%d bytes were written of %d, or others", len(got), size)
		}
		if _, err := os.Stat(s.path("file.part")); !os.IsNotExist(err) {
			t.Errorf("the part is still there: %v", err)
		}
	}
}

// What is replaced keeps its permissions, and a link stays one.
func TestWriteReplaces(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.write(t, "script", []byte("old"))
	if err := os.Chmod(s.path("script"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("script", s.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), s.path("link"), WriteOptions{Size: 3}, pieces([]byte("new"), 9)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(s.path("link"))
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	info, err = os.Lstat(s.path("script"))
	if err != nil || info.Mode() != 0o750 || string(s.read(t, "script")) != "new" {
		t.Errorf("the file is %v, %v, %q", info.Mode(), err, s.read(t, "script"))
	}
	if err := os.Mkdir(s.path("directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	expectCode(t, s.Write(t.Context(), s.path("directory"), WriteOptions{}, pieces(nil, 1)), CodeExists)
	if err := os.Symlink("script", s.path("victim.part")); err != nil {
		t.Fatal(err)
	}
	expectCode(t, s.Write(t.Context(), s.path("victim"), WriteOptions{}, pieces([]byte("x"), 1)), CodeExists)
	expectCode(t, s.Write(t.Context(), s.path("no/file"), WriteOptions{}, pieces(nil, 1)), CodeNotFound, s.path("no/file.part"))
}

func TestWriteIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	data := noise(3 << 20)
	size := int64(len(data))
	cut := errors.New("the source is gone")
	err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: size}, func(position int64) ([]byte, error) {
		if position >= 1<<20 {
			return nil, cut
		}
		return data[position : position+1<<16], nil
	})
	if !errors.Is(err, cut) {
		t.Fatalf("the error is %v, want %v", err, cut)
	}
	if got := s.read(t, "file.part"); !bytes.Equal(got, data[:1<<20]) {
		t.Fatalf("%d bytes are there, want %d", len(got), 1<<20)
	}
	first := int64(-1)
	next := pieces(data, 1<<18)
	err = s.Write(t.Context(), s.path("file"), WriteOptions{Size: size, Resume: true}, func(position int64) ([]byte, error) {
		if first < 0 {
			first = position
		}
		return next(position)
	})
	if err != nil || first != 1<<20 || !bytes.Equal(s.read(t, "file"), data) {
		t.Errorf("%v, went on at %d", err, first)
	}
	// A part that is longer than the file can't be its.
	s.write(t, "file.part", noise(100))
	if err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: 10, Resume: true}, pieces(data[:10], 3)); err != nil || !bytes.Equal(s.read(t, "file"), data[:10]) {
		t.Errorf("%v, wrote %q", err, s.read(t, "file"))
	}
	// And without Resume it begins anew.
	s.write(t, "file.part", noise(100))
	if err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: 10}, pieces(data[:10], 3)); err != nil || !bytes.Equal(s.read(t, "file"), data[:10]) {
		t.Errorf("%v, wrote %q", err, s.read(t, "file"))
	}
}

func TestSourceIsShorterOrLonger(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, size := range []int64{5, 15} {
		err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: size}, pieces(noise(10), 4))
		expectCode(t, err, CodeFailed, "changed meanwhile")
		if _, err := os.Stat(s.path("file")); !os.IsNotExist(err) {
			t.Errorf("it was renamed: %v", err)
		}
	}
}

func TestWriteIsCalledOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	data := noise(1 << 20)
	err := s.Write(ctx, s.path("file"), WriteOptions{Size: 2 << 20}, func(position int64) ([]byte, error) {
		if position > 0 {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return data, nil
	})
	expectCode(t, err, CodeCancelled)
}

// A cutChannel breaks off after some bytes have been written.
type cutChannel struct {
	ssh.Channel
	left atomic.Int64
}

func (c *cutChannel) Write(p []byte) (int, error) {
	if c.left.Add(-int64(len(p))) < 0 {
		_ = c.Channel.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Channel.Write(p)
}

// What has been written when a connection ends has no holes, and is gone on with over another one.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	server := sshd.Start(t)
	s := site{connect(t, server, func(c ssh.Channel) io.ReadWriteCloser {
		cut := &cutChannel{Channel: c}
		cut.left.Store(3 << 20)
		return cut
	}), t.TempDir()}
	data := noise(6 << 20)
	err := s.Write(t.Context(), s.path("file"), WriteOptions{Size: int64(len(data))}, pieces(data, 1<<18))
	expectCode(t, err, CodeNetwork, "cut off")
	<-s.Ended()
	again := site{connect(t, server, func(c ssh.Channel) io.ReadWriteCloser { return c }), s.dir}
	// The other process of sshd may still be writing, and what is there has no holes at any time. Its windows are
	// smaller than what was sent, so some of it has arrived.
	part := s.read(t, "file.part")
	if len(part) == 0 || !bytes.Equal(part, data[:len(part)]) {
		t.Fatalf("the part of %d bytes has holes", len(part))
	}
	if err := again.Write(t.Context(), s.path("file"), WriteOptions{Size: int64(len(data)), Resume: true}, pieces(data, 1<<18)); err != nil || !bytes.Equal(s.read(t, "file"), data) {
		t.Errorf("%v, or other bytes", err)
	}
}
