package listen

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Neither end is promised more room than there is, also not at first: what comes beyond it is
// dropped, and comes again by a timer only.
func TestPairPromisesWhatThereIs(t *testing.T) {
	edge, front, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	defer front.Close()
	for name, conn := range map[string]*net.TCPConn{"edge": edge, "front": front} {
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		if bad := raw.Control(func(fd uintptr) {
			info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		}); bad != nil || err != nil {
			t.Fatal(bad, err)
		}
		// The kernel promises half of its room, since what comes takes more than it has bytes.
		if info.Snd_wnd == 0 || info.Snd_wnd > pairBuffer/2 {
			t.Errorf("the %s may send %d bytes, want %d at most", name, info.Snd_wnd, pairBuffer/2)
		}
	}
}
