package display

import (
	"encoding/json"
	"testing"
	"time"

	"wsproxy/command/screen"
)

// The line of a request is what encoding/json makes of it, and what no terminal obeys.
func FuzzRequestJSON(f *testing.F) {
	f.Add("GET", "/a?b=c", "", 200, int64(1234567), int64(0), true)
	f.Add("P\x7fOST", "/<&>\"\\\x1b[2J\xff\u2028\u202e\U0001f600", "it's a \thint", 0, int64(1), int64(1)<<62, false)
	f.Add("", "", "é", -1, int64(1e15), int64(-1), true)
	f.Fuzz(func(t *testing.T, method, path, hint string, status int, nanoseconds, bytes int64, flag bool) {
		at := time.Unix(nanoseconds%1e9, nanoseconds%1e6).In(time.FixedZone("", 3600))
		d := time.Duration(nanoseconds)
		r := request{"request", at, hint, method, path, status, milliseconds(d), milliseconds(d / 7), bytes, bytes / 3, path, flag, !flag, flag, hint}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(r.append(nil)), string(screen.EscapeJSON(b)); got != want {
			t.Fatalf("%s, not\n%s", got, want)
		}
	})
}
