package e2e

import (
	"net/http"
	"testing"
)

// The whole way: somebody outside, the proxy, a double of gossh-wasm, its SSH
// session through the same proxy's relay, a real sshd, and the service that it
// forwards to.
func TestGosshThroughSSHD(t *testing.T) {
	t.Parallel()
	d := startSSHD(t)
	s := tunnelServer(t, "ALLOWED_TARGETS=127.0.0.1/32")
	client, _ := dialSSH(t, s, d)
	r := gosshOpen(t, s, gosshScript{ssh: client})

	text, binary := gosshText(gosshLarge), gosshBinary(1<<20)
	for path, want := range map[string]string{
		"/text?n=1000":           gosshText(1000),
		"/text?n=5242880":        text,
		"/chunks?n=5242880":      text,
		"/binary?n=5242880":      gosshBinary(gosshLarge),
		"/binarychunks?n=300000": gosshBinary(300_000),
	} {
		for _, header := range []http.Header{nil, asStream()} {
			if err := r.get(path, header, want); err != nil {
				t.Errorf("%v: %v", header, err)
			}
		}
	}
	for _, size := range []int{15, 30_000, 1 << 20} {
		for _, body := range []string{text[:size], binary[:size]} {
			if err := r.post("POST", nil, body); err != nil {
				t.Error(err)
			}
		}
	}
	// More, one after another, than the double has slots.
	for i := range 120 {
		if err := r.post("POST", nil, binary[:1000+i]); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	eventually(t, patience, "all slots are free again", func() bool { used, _ := r.c.slots(); return used == 0 })
	r.check(t)
}

// Raw bytes take the same way, from the moment the connection opens.
func TestGosshRawThroughSSHD(t *testing.T) {
	t.Parallel()
	d := startSSHD(t)
	s := tunnelServer(t, "ALLOWED_TARGETS=127.0.0.1/32")
	client, _ := dialSSH(t, s, d)
	const banner = "220 a service that speaks first\r\n"
	r := gosshOpen(t, s, gosshScript{ssh: client, service: gosshBanner(t, banner)})
	for _, size := range []int{1 << 10, 100 << 10, 5 << 20} {
		if err := r.echo(t, size, banner, false); err != nil {
			t.Error(err)
		}
	}
	r.check(t)
}
