package auth

import (
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keysFile is a file of key sets, each put in place in one step or as they are.
type keysFile struct {
	t    *testing.T
	path string
}

func newKeysFile(t *testing.T) keysFile {
	return keysFile{t, filepath.Join(t.TempDir(), "jwks.json")}
}

func (f keysFile) url() string { return (&url.URL{Scheme: "file", Path: f.path}).String() }

// overwrite writes into the file that is there.
func (f keysFile) overwrite(content string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// replace puts another file in its place.
func (f keysFile) replace(content string) {
	f.t.Helper()
	next := keysFile{f.t, f.path + ".next"}
	next.overwrite(content)
	if err := os.Rename(next.path, f.path); err != nil {
		f.t.Fatal(err)
	}
}

func (f keysFile) remove() {
	f.t.Helper()
	if err := os.Remove(f.path); err != nil {
		f.t.Fatal(err)
	}
}

// onDisk runs a test in fake time with a Verifier of a file, which holds keyA as
// "a" at first.
func onDisk(t *testing.T, check func(t *testing.T, v *Verifier, f keysFile, lines *logLines)) {
	t.Helper()
	f := newKeysFile(t)
	f.overwrite(jwks(jwk("a", keyA)))
	synctest.Test(t, func(t *testing.T) {
		lines := newLogLines()
		v, err := New(Config{JWKSURL: f.url(), Logger: slog.New(lines)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		synctest.Wait()
		check(t, v, f, lines)
	})
}

// aChangeCounts is how long a change may take.
const aChangeCounts = 10 * time.Second

func withB() string { return signText(keyB, `{"alg":"RS256","kid":"b"}`, encode(goodClaims())) }

func TestKeysOfAFile(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, f keysFile, lines *logLines) {
		if got := reasonOf(t, v, sign(goodClaims())); got != "" {
			t.Errorf("refused for %q", got)
		}
		if got := reasonOf(t, v, signText(keyB, `{"alg":"RS256","kid":"a"}`, encode(goodClaims()))); got != ReasonSignature {
			t.Errorf("another's key: refused for %q", got)
		}
		if s := v.Stats(); s.Keys != 1 || s.Failures != 0 {
			t.Errorf("stats are %+v", s)
		}
		if line := lines.await(t, "keys read"); !strings.Contains(line, "added=[a]") || !strings.HasPrefix(line, "INFO") {
			t.Errorf("logged: %s", line)
		}
		time.Sleep(time.Hour)
		if more := lines.drain(); len(more) > 0 {
			t.Errorf("an hour in which nothing changed is logged: %q", more)
		}
	})
}

// Nobody asks for the new key, and it is there in time; the old one is gone.
func TestAChangedFileCounts(t *testing.T) {
	for name, put := range map[string]func(keysFile, string){"in place": keysFile.overwrite, "renamed": keysFile.replace} {
		t.Run(name, func(t *testing.T) {
			onDisk(t, func(t *testing.T, v *Verifier, f keysFile, lines *logLines) {
				before, err := os.Stat(f.path)
				if err != nil {
					t.Fatal(err)
				}
				put(f, jwks(jwk("b", keyB)))
				// Neither its times nor its size tell that it has changed.
				if err := os.Chtimes(f.path, before.ModTime(), before.ModTime()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(aChangeCounts)
				synctest.Wait()
				if got := reasonOf(t, v, withB()); got != "" {
					t.Errorf("the new key: refused for %q", got)
				}
				if got := reasonOf(t, v, sign(goodClaims())); got != ReasonUnknownKey {
					t.Errorf("the withdrawn key: refused for %q", got)
				}
				if line := lines.await(t, "added=[b]"); !strings.Contains(line, "removed=[a]") {
					t.Errorf("logged: %s", line)
				}
			})
		})
	}
}

// The first token of a new key is let in without the look at the file being due.
func TestAnUnknownKeyMakesTheFileBeRead(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, f keysFile, _ *logLines) {
		time.Sleep(FileInterval + FileUnknownKeyInterval)
		synctest.Wait()
		f.replace(jwks(jwk("a", keyA), jwk("b", keyB)))
		began := time.Now()
		if got := reasonOf(t, v, withB()); got != "" || time.Since(began) > 0 {
			t.Errorf("refused for %q after %s", got, time.Since(began))
		}
	})
}

// A flood of unknown keys has the file read once a second.
func TestAFloodOfUnknownKeysReadsTheFileOnceASecond(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, _ keysFile, _ *logLines) {
		before := v.Stats().Fetches
		for range 1000 {
			if got := reasonOf(t, v, withUnknownKid("x")); got != ReasonUnknownKey {
				t.Fatalf("refused for %q", got)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if reads := v.Stats().Fetches - before; reads > 10+10/3+1 {
			t.Errorf("it was read %d times within 10 s", reads)
		}
	})
}

type badFile struct {
	put    func(keysFile)
	logged string
}

// badFiles are what leaves the old keys, with what the log says of it.
func badFiles() map[string]badFile {
	good := jwks(jwk("a", keyA), jwk("b", keyB))
	write := func(content string) func(keysFile) { return func(f keysFile) { f.overwrite(content) } }
	files := map[string]badFile{
		"missing":       {keysFile.remove, "no such file"},
		"empty":         {write(""), "not a JSON Web Key Set"},
		"half written":  {write(good[:len(good)/2]), "not a JSON Web Key Set"},
		"no JSON":       {write("-----BEGIN PUBLIC KEY-----"), "not a JSON Web Key Set"},
		"empty set":     {write(jwks()), "it has 0 keys"},
		"no usable key": {write(jwks(jwk("", keyA))), "it has 1 keys, and none"},
		"huge":          {write(`{"keys":[],"x":"` + strings.Repeat("x", maxFileBytes) + `"}`), "longer than 1048576 bytes"},
		"a directory": {func(f keysFile) {
			f.remove()
			if err := os.Mkdir(f.path, 0o700); err != nil {
				f.t.Fatal(err)
			}
		}, "no regular file"},
		"a link to nowhere": {func(f keysFile) {
			f.remove()
			if err := os.Symlink(f.path+".nowhere", f.path); err != nil {
				f.t.Fatal(err)
			}
		}, "no such file"},
	}
	maps.Copy(files, badFilesOfThisSystem)
	return files
}

func TestAFileThatCannotBeReadLeavesTheKeys(t *testing.T) {
	for name, bad := range badFiles() {
		t.Run(name, func(t *testing.T) {
			onDisk(t, func(t *testing.T, v *Verifier, f keysFile, lines *logLines) {
				lines.drain()
				bad.put(f)
				if time.Sleep(time.Minute); name == "missing" {
					time.Sleep(DefaultKeepFor) // there is no outage to be bridged
				}
				synctest.Wait()
				if got := reasonOf(t, v, sign(goodClaims())); got != "" {
					t.Errorf("later: refused for %q", got)
				}
				if got := reasonOf(t, v, withB()); got != ReasonUnknownKey {
					t.Errorf("an unknown key: refused for %q", got)
				}
				said := lines.drain()
				if len(said) != 1 || !strings.HasPrefix(said[0], "WARN") || !strings.Contains(said[0], bad.logged) || !strings.Contains(said[0], "keys_kept=1") {
					t.Errorf("logged: %q, want one line with %q", said, bad.logged)
				}
				if err := os.RemoveAll(f.path); err != nil {
					t.Fatal(err)
				}
				f.replace(jwks(jwk("a", keyA), jwk("b", keyB)))
				time.Sleep(aChangeCounts)
				synctest.Wait()
				if got := reasonOf(t, v, withB()); got != "" {
					t.Errorf("mended: refused for %q", got)
				}
				lines.await(t, "added=[b]")
			})
		})
	}
}

// Each way of being bad is told, once.
func TestEachChangeOfABadFileIsLoggedOnce(t *testing.T) {
	onDisk(t, func(t *testing.T, v *Verifier, f keysFile, lines *logLines) {
		lines.drain()
		time.Sleep(FileInterval / 2) // so that no look comes while it is written
		for round := range 3 {
			f.overwrite(fmt.Sprint("nonsense ", round)) // which the parser calls the same
			time.Sleep(time.Minute)
		}
		f.remove()
		time.Sleep(time.Minute)
		f.overwrite(jwks(jwk("a", keyA))) // as it was at first
		time.Sleep(time.Minute)
		synctest.Wait()
		said := lines.drain()
		if len(said) != 5 || slices.ContainsFunc(said[:4], func(line string) bool { return !strings.HasPrefix(line, "WARN") }) || !strings.HasPrefix(said[4], "INFO") {
			t.Errorf("logged: %q, want four warnings and the good news", said)
		}
	})
}

func TestAFileThatIsNotThereAtStart(t *testing.T) {
	for name, bad := range badFiles() {
		t.Run(name, func(t *testing.T) {
			f := newKeysFile(t)
			f.overwrite("")
			bad.put(f)
			synctest.Test(t, func(t *testing.T) {
				lines := newLogLines()
				v, err := New(Config{JWKSURL: f.url(), Logger: slog.New(lines)})
				if err != nil {
					t.Fatal(err)
				}
				defer v.Close()
				time.Sleep(time.Minute)
				began := time.Now()
				if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable || time.Since(began) > FileInterval {
					t.Errorf("refused for %q after %s", got, time.Since(began))
				}
				said := lines.drain()
				if len(said) != 1 || !strings.Contains(said[0], "every token is refused") || !strings.Contains(said[0], "url="+f.url()) {
					t.Errorf("logged: %q", said)
				}
				if err := os.RemoveAll(f.path); err != nil {
					t.Fatal(err)
				}
				f.replace(jwks(jwk("a", keyA)))
				time.Sleep(aChangeCounts)
				synctest.Wait()
				if got := reasonOf(t, v, sign(goodClaims())); got != "" {
					t.Errorf("once it is there: refused for %q", got)
				}
			})
		})
	}
}

// While the file is swapped as fast as that goes, and also written in place, a key
// that all its versions have is never refused.
func TestSwapsUnderLoad(t *testing.T) {
	f := newKeysFile(t)
	one, other := jwks(jwk("a", keyA)), jwks(jwk("b", keyB), jwk("a", keyA))
	f.overwrite(one)
	v, err := New(Config{JWKSURL: f.url(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for round := 0; ; round++ {
			select {
			case <-stop:
				return
			default:
			}
			switch round % 4 {
			case 0:
				f.replace(other)
			case 1:
				f.overwrite(other[:len(other)/3])
			case 2:
				f.overwrite(one)
			case 3:
				_ = os.Remove(f.path)
			}
		}
	}()
	token := sign(goodClaims())
	deadline := time.Now().Add(2*FileInterval + FileInterval/2)
	for reads := uint64(0); reads < 3 && time.Now().Before(deadline); reads = v.Stats().Fetches {
		if got := reasonOf(t, v, token); got != "" && v.Stats().LastSuccess.IsZero() == false {
			t.Errorf("refused for %q", got)
			break
		}
		reasonOf(t, v, withUnknownKid("x")) // has it read more often
	}
	close(stop)
	<-stopped
	f.replace(other)
	deadline = time.Now().Add(aChangeCounts)
	for reasonOf(t, v, withB()) != "" {
		if time.Now().After(deadline) {
			t.Fatal("the last version doesn't count within 10 s")
		}
	}
}

func TestLocalPath(t *testing.T) {
	for _, c := range []struct{ raw, unix, windows string }{
		{"file:///etc/jwks.json", "/etc/jwks.json", ""},
		{"file:/etc/jwks.json", "/etc/jwks.json", ""},
		{"file:///etc/my%20keys/a%23b", "/etc/my keys/a#b", ""},
		{"file:///C:/keys/jwks.json", "/C:/keys/jwks.json", `C:\keys\jwks.json`},
		{"file:///c:/my keys/jwks.json", "/c:/my keys/jwks.json", `c:\my keys\jwks.json`},
		{"file:///C:jwks.json", "/C:jwks.json", ""},
		{"file:///C:", "/C:", ""},
		{"file://server/keys/jwks.json", "", ""},
		{"file://C:/keys/jwks.json", "", ""},
		{"file:keys/jwks.json", "", ""},
		{"file:///", "", ""},
		{"file:///etc/", "", ""},
	} {
		address, err := url.Parse(c.raw)
		if err != nil {
			continue // refused before it comes here
		}
		for windows, want := range map[bool]string{false: c.unix, true: c.windows} {
			got, err := localPath(address, windows)
			if got != want || (err == nil) != (want != "") {
				t.Errorf("%s, windows %v: %q, %v; want %q", c.raw, windows, got, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), "expected file:///") {
				t.Errorf("%s, windows %v: the error doesn't say what is expected: %v", c.raw, windows, err)
			}
		}
	}
}

func TestReadKeyFile(t *testing.T) {
	f := newKeysFile(t)
	f.overwrite(jwks(jwk("b", keyB), jwk("a", keyA, object{"d": "AQAB"}), jwk("c", keyA, object{"use": "enc"}), jwk("", keyA)))
	found, err := ReadKeyFile(f.url())
	if err != nil || found.Path != f.path || !slices.Equal(found.Keys, []string{"a", "b"}) || found.Ignored != 2 || found.Broken == "" || !found.Private {
		t.Errorf("found %+v, %v", found, err)
	}
	f.overwrite(jwks(jwk("a", keyA)))
	if found, err := ReadKeyFile(f.url()); err != nil || found.Private || found.Broken != "" {
		t.Errorf("found %+v, %v", found, err)
	}
	f.remove()
	if found, err := ReadKeyFile(f.url()); err == nil || found.Path != f.path {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, raw := range []string{"https://issuer.example/jwks", "file://host/x", "x"} {
		if _, err := ReadKeyFile(raw); err == nil {
			t.Errorf("%s: no error", raw)
		}
	}
}
