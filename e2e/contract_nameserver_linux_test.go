package e2e

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A nameServer answers the servers of one test, which else would ask whatever
// the machine asks. Port 53 is the only one that resolv.conf can name, so each
// has an address of its own within 127.53.0.0/16.
type nameServer struct {
	conn    net.PacketConn
	answer  func(name string) []netip.Addr // nil = there is no such name; may wait
	mu      sync.Mutex
	queries map[string]int // under mu: for the IPv4 addresses of each name, without the final dot
}

var nameServers atomic.Uint32

// newNameServer starts a name server, and makes the servers that this test's
// goroutine starts from now on use it: they get an /etc/resolv.conf of their
// own, in a mount namespace that belongs to this goroutine's thread only. That
// and the port need root.
func newNameServer(t *testing.T, answer func(name string) []netip.Addr) *nameServer {
	t.Helper()
	n := nameServers.Add(1)
	address := netip.AddrFrom4([4]byte{127, 53, byte(n >> 8), byte(n)})
	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(address, 53).String())
	if err != nil {
		t.Fatalf("a name server can't be run on port 53, which needs root: %v", err)
	}
	s := &nameServer{conn: conn, answer: answer, queries: map[string]int{}}
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			packet := make([]byte, 1500)
			size, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			answering.Go(func() { s.serve(packet[:size], from) })
		}
	})
	t.Cleanup(func() {
		conn.Close()
		answering.Wait()
	})

	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "nameserver " + address.String() + "\nsearch .\noptions timeout:30 attempts:1\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // for good: the thread ends with the test's goroutine
	err = syscall.Unshare(syscall.CLONE_NEWNS)
	if err == nil {
		err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	}
	if err == nil {
		err = syscall.Mount(file, "/etc/resolv.conf", "", syscall.MS_BIND, "")
	}
	if err != nil {
		t.Fatalf("the server can't be given a resolv.conf of its own, which needs root (CAP_SYS_ADMIN): %v", err)
	}
	return s
}

func (s *nameServer) serve(packet []byte, from net.Addr) {
	var query dnsmessage.Message
	if query.Unpack(packet) != nil || len(query.Questions) != 1 {
		return
	}
	question := query.Questions[0]
	name := question.Name.String()
	name = name[:len(name)-1]
	if question.Type == dnsmessage.TypeA {
		s.mu.Lock()
		s.queries[name]++
		s.mu.Unlock()
	}
	addresses := s.answer(name)
	response := dnsmessage.Message{Questions: query.Questions}
	response.ID, response.Response, response.RecursionAvailable = query.ID, true, true
	if addresses == nil {
		response.RCode = dnsmessage.RCodeNameError
	}
	for _, address := range addresses {
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class}
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			response.Answers = append(response.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			response.Answers = append(response.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	if answer, err := response.Pack(); err == nil {
		_, _ = s.conn.WriteTo(answer, from)
	}
}

// asked returns the names that were asked for so far, sorted.
func (s *nameServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.queries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// times is how often a name was asked for.
func (s *nameServer) times(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[name]
}

func addresses(texts ...string) []netip.Addr {
	list := []netip.Addr{}
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}
