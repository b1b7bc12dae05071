package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sparseFile makes a large file with something at its beginning, its middle and its
// end, and returns its directory and the hash of its bytes. It takes no room on the
// disk.
func sparseFile(t *testing.T, size int64) (dir string, sum [32]byte) {
	t.Helper()
	dir = t.TempDir()
	file, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i, at := range []int64{0, size/2 - 7, size - 1000} {
		mark := make([]byte, 1000)
		_, _ = tunnelNoise(uint64(i)).Read(mark)
		if _, err := file.WriteAt(mark, at); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = file.Seek(0, io.SeekStart)
	sum, _, err = tunnelSum(file)
	if err != nil {
		t.Fatal(err)
	}
	return dir, sum
}

// curlTo downloads a tunnel's file to a path, and returns curl's exit code and what it
// complains of. before is called while it runs.
func curlTo(t *testing.T, r *bytesRig, path string, during func(), args ...string) (int, string) {
	t.Helper()
	args = append([]string{
		"-sS", "--noproxy", "*", "--max-time", "120", "--connect-to", "::" + r.s.addr, "-o", path, "http://" + r.c.host + "/big",
	}, args...)
	cmd := exec.Command(tunnelTool(t, "curl"), args...)
	said := &output{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if during != nil {
		during()
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// cutAt waits until a file has so many bytes, and then resets all of the service's
// connections.
func cutAt(t *testing.T, r *bytesRig, path string, size int64) func() {
	return func() {
		eventually(t, 2*patience, "some of the file", func() bool {
			info, err := os.Stat(path)
			return err == nil && info.Size() >= size
		})
		for _, conn := range r.c.all() {
			_ = conn.service.SetLinger(0)
			conn.service.Close()
			conn.end("reset")
		}
	}
}

// fileIs holds a file to its hash.
func fileIs(t *testing.T, path string, want [32]byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if sum, n, err := tunnelSum(file); sum != want || err != nil {
		t.Errorf("the file has %d bytes, the same: %t, %v", n, sum == want, err)
	}
}

// A large download that was cut is known to be, and goes on where it was.
func TestBytesResumedDownload(t *testing.T) {
	t.Parallel()
	size := bytesBulk() / 2
	dir, sum := sparseFile(t, size)
	ranges := make(chan string, 8)
	files := http.FileServer(http.Dir(dir))
	r := newPlainBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges <- r.Header.Get("Range")
		files.ServeHTTP(w, r)
	}))
	path := filepath.Join(t.TempDir(), "got")
	if code, said := curlTo(t, r, path, cutAt(t, r, path, 50<<20)); code != 18 {
		t.Errorf("a cut download ends curl with %d: %s", code, said)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	code, said := curlTo(t, r, path, nil, "-C", "-")
	t.Logf("%d MiB in %v", (size-info.Size())>>20, time.Since(began))
	if code != 0 {
		t.Errorf("going on ends curl with %d: %s", code, said)
	}
	if first, second := <-ranges, <-ranges; first != "" || second != fmt.Sprintf("bytes=%d-", info.Size()) {
		t.Errorf("the service was asked for %q, then %q", first, second)
	}
	fileIs(t, path, sum)
}

// Python's server knows no ranges: curl says so when it is to go on, and gets the file
// whole when it begins anew.
func TestBytesPythonFiles(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	dir, sum := sparseFile(t, size)
	python := startApp(t, "python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", dir)
	r := newBytesRigTo(t, python.addr(), "")
	path := filepath.Join(t.TempDir(), "got")
	if code, said := curlTo(t, r, path, cutAt(t, r, path, 5<<20)); code != 18 {
		t.Errorf("a cut download ends curl with %d: %s", code, said)
	}
	if code, said := curlTo(t, r, path, nil, "-C", "-"); code != 33 || !strings.Contains(said, "byte ranges") {
		t.Errorf("going on ends curl with %d: %s", code, said)
	}
	if code, said := curlTo(t, r, path, nil); code != 0 {
		t.Errorf("beginning anew ends curl with %d: %s", code, said)
	}
	fileIs(t, path, sum)
}
