package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A path is a network device of this machine with a bottleneck: whoever dials far
// reaches what listens on near, through a queue with a rate and a delay, in each
// direction. The kernels' own TCP runs over it.
type path struct {
	near, far string // addresses
	down, up  *bottleneck
}

// pathRates are what a path has.
type pathRates struct {
	down, up int           // bytes/s; down is towards who dialled
	rtt      time.Duration // of the empty path
	queue    int           // bytes that wait before the bottleneck, in each direction
	mtu      int
}

// A bottleneck is one direction.
type bottleneck struct {
	rate  int
	delay time.Duration
	queue int
	free  time.Time // when all that waits will have left
	out   chan packet
}

type packet struct {
	bytes []byte
	at    time.Time
}

// pathAddress is of the range for tests of network devices (RFC 2544), which nothing
// routes.
const pathAddress = "198.18.117."

// newPath makes a path, of which there is one at a time. TCP is cubic on it, which fills
// queues. The path ends with the test.
func newPath(t *testing.T, r pathRates) *path {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		t.Fatalf("there can be no network device of the test's own, which needs root (CAP_NET_ADMIN), /dev/net/tun and ip(8): %v", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		fail(err)
	}
	request, err := unix.NewIfreq("wsptest%d")
	if err != nil {
		fail(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		fail(err)
	}
	tun := os.NewFile(uintptr(fd), "tun") // not before it is a device: what it is polled by changes
	t.Cleanup(func() { tun.Close() })
	p := &path{near: pathAddress + "1", far: pathAddress + "2", down: newBottleneck(r.down, r), up: newBottleneck(r.up, r)}
	name := request.Name()
	for _, command := range []string{
		"addr add " + p.near + "/32 dev " + name,
		fmt.Sprintf("link set %s mtu %d up", name, r.mtu),
		"route add " + p.far + "/32 dev " + name + " src " + p.near + " congctl cubic",
	} {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			fail(fmt.Errorf("ip %s: %w: %s", command, err, out))
		}
	}
	go p.carry(tun, uint16(r.mtu))
	for _, b := range []*bottleneck{p.down, p.up} {
		go b.deliver(tun)
	}
	return p
}

func newBottleneck(rate int, r pathRates) *bottleneck {
	return &bottleneck{rate: rate, delay: r.rtt / 2, queue: r.queue, out: make(chan packet, 1<<16)}
}

// carry reads what is sent to far, makes it come to near, and the other way
// around: each believes that the other is far. To swap addresses changes no checksum.
func (p *path) carry(tun *os.File, mtu uint16) {
	defer close(p.down.out)
	defer close(p.up.out)
	buf := make([]byte, int(mtu)+64)
	dialled := map[uint16]bool{} // ports that connections came from
	for {
		n, err := tun.Read(buf)
		if err != nil {
			return
		}
		header := int(buf[0]&15) * 4
		if n < header+20 || buf[0]>>4 != 4 || buf[9] != unix.IPPROTO_TCP {
			continue
		}
		b := append([]byte(nil), buf[:n]...)
		copy(b[12:16], buf[16:20])
		copy(b[16:20], buf[12:16])
		from, to := binary.BigEndian.Uint16(b[header:]), binary.BigEndian.Uint16(b[header+2:])
		const syn, ack = 2, 16
		if b[header+13]&(syn|ack) == syn {
			dialled[from] = true
		}
		switch {
		case dialled[from]:
			p.up.take(b)
		case dialled[to]:
			p.down.take(b)
		}
	}
}

// take queues a packet, or drops it if the queue is full.
func (b *bottleneck) take(bytes []byte) {
	now := time.Now()
	if b.free.Before(now) {
		b.free = now
	}
	if waits := time.Duration(b.queue) * time.Second / time.Duration(b.rate); b.free.Sub(now) > waits {
		return
	}
	b.free = b.free.Add(time.Duration(len(bytes)) * time.Second / time.Duration(b.rate))
	b.out <- packet{bytes, b.free.Add(b.delay)}
}

// deliver delivers each packet at its time.
func (b *bottleneck) deliver(tun *os.File) {
	for p := range b.out {
		if rest := time.Until(p.at); rest > 0 {
			<-time.After(rest)
		}
		_, _ = tun.Write(p.bytes)
	}
}

// server returns s as it is reached through the path. It listens on p.near.
func (p *path) server(t *testing.T, s *server) *server {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	far := *s
	far.addr = net.JoinHostPort(p.far, port)
	return &far
}
