package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// The slots of a double are shared by everything and free only when the double
// itself has ended what they are for. However many requests there are, one
// after another, a few slots are enough.
func TestGosshSlots(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const requests, enough = 120, 30
	small, large := gosshText(1000), gosshBinary(100_000)
	for name, test := range map[string]struct {
		strict, closes bool
		bytes          bool // it has to come as bytes
		one            func(r *gosshRig, i int) error
	}{
		"small answers":   {one: func(r *gosshRig, _ int) error { return r.get("/text?n=1000", nil, small) }},
		"binary bodies":   {bytes: true, one: func(r *gosshRig, _ int) error { return r.post("POST", nil, large) }},
		"streams":         {bytes: true, one: func(r *gosshRig, _ int) error { return r.get("/text?n=1000", asStream(), small) }},
		"chunked streams": {bytes: true, one: func(r *gosshRig, _ int) error { return r.get("/chunks?n=1000", asStream(), small) }},
		"all in turns": {bytes: true, one: func(r *gosshRig, i int) error {
			switch i % 4 {
			case 0:
				return r.get("/text?n=1000", nil, small)
			case 1:
				return r.get("/binary?n=100000", asStream(), large)
			case 2:
				return r.post("PUT", http.Header{"Connection": {"close"}}, large)
			default:
				return r.post("POST", nil, large)
			}
		}},
		"a service that reads strictly": {strict: true, one: func(r *gosshRig, i int) error { return r.post("POST", nil, large[:i*100+1]) }},
		"a service that closes": {strict: true, closes: true, one: func(r *gosshRig, i int) error {
			return r.post("POST", nil, large[:i*100+1])
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var strict *gosshStrict
			script := gosshScript{opening: 2 * time.Millisecond}
			if test.strict {
				strict = gosshStrictServer(t, test.closes)
				script.service = strict.addr
			}
			r := gosshOpen(t, s, script)
			// Each new connection takes a moment: where there are many, some
			// are made at the same time.
			workers := 1
			if test.closes {
				workers = 6
			}
			var running sync.WaitGroup
			for w := range workers {
				running.Go(func() {
					for i := w; i < requests; i += workers {
						if err := test.one(r, i); err != nil {
							used, _ := r.c.slots()
							t.Errorf("request %d, with %d slots in use: %v", i, used, err)
							return
						}
					}
				})
			}
			running.Wait()
			if used, most := r.c.slots(); used > enough {
				t.Errorf("%d slots are in use, of %d at most", used, most)
			}
			eventually(t, patience, "all slots are free again", func() bool { used, _ := r.c.slots(); return used == 0 })
			if strict != nil {
				if wrong := strict.wrong(); len(wrong) > 0 {
					t.Errorf("the service got what was no request: %q", wrong)
				}
			}
			if test.bytes && len(r.c.seen("tcp_open")) == 0 {
				t.Error("nothing came as bytes")
			}
			if opened := len(r.c.seen("tcp_open")); !test.closes && opened > enough {
				t.Errorf("%d connections were opened for %d requests", opened, requests)
			}
			r.check(t)
		})
	}
}
