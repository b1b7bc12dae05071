package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A resumeCaddy is Caddy before a server, which can be reloaded, restarted and killed.
type resumeCaddy struct {
	addr   string
	behind string
	admin  string
	config string
	home   string
	path   string
	out    output
	cmd    *exec.Cmd
	ended  chan struct{}
	loads  int
}

// newResumeCaddy starts one. It ends with the test.
func newResumeCaddy(t *testing.T, behind string) *resumeCaddy {
	t.Helper()
	k := &resumeCaddy{behind: behind, home: t.TempDir(), path: tunnelTool(t, "caddy")}
	var free [2]string
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		free[i] = l.Addr().String()
		l.Close()
	}
	k.addr, k.admin, k.config = free[0], free[1], filepath.Join(k.home, "Caddyfile")
	t.Cleanup(func() {
		k.kill()
		if t.Failed() {
			t.Log(k.out.String())
		}
	})
	k.run(t)
	return k
}

// write writes a configuration that is another one each time, or a reload does
// nothing.
func (k *resumeCaddy) write(t *testing.T) {
	t.Helper()
	k.loads++
	_, port, _ := net.SplitHostPort(k.addr)
	if err := os.WriteFile(k.config, fmt.Appendf(nil, `{
	auto_https off
	admin %s
}
http://127.0.0.1:%s {
	bind 127.0.0.1
	header X-Load %d
	reverse_proxy %s
}
`, k.admin, port, k.loads, k.behind), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *resumeCaddy) command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.path, append(args, "--config", k.config, "--adapter", "caddyfile")...)
	cmd.Env = append(os.Environ(), "HOME="+k.home, "XDG_DATA_HOME="+k.home, "XDG_CONFIG_HOME="+k.home)
	cmd.Stdout, cmd.Stderr = &k.out, &k.out
	return cmd
}

func (k *resumeCaddy) run(t *testing.T) {
	t.Helper()
	k.write(t)
	k.cmd, k.ended = k.command("run"), make(chan struct{})
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	eventually(t, patience, "Caddy listens", func() bool {
		conn, err := net.Dial("tcp", k.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (k *resumeCaddy) kill() {
	_ = k.cmd.Process.Kill()
	<-k.ended
}

func TestResumeThroughCaddy(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32")
	k := newResumeCaddy(t, s.addr)
	resumeThroughProxy(t, k.addr, []proxyStep{
		{"reloads", func() {
			k.write(t)
			if err := k.command("reload", "--address", k.admin).Run(); err != nil {
				t.Errorf("the reload: %v", err)
			}
		}},
		{"is killed", func() {
			k.kill()
			k.run(t)
		}},
		{"restarts", func() {
			_ = k.cmd.Process.Signal(os.Interrupt)
			<-k.ended
			k.run(t)
		}},
	})
}

// A proxyStep is something that a front proxy does under the sessions that it carries.
type proxyStep struct {
	name string
	do   func()
}

// resumeThroughProxy has bulk go both ways through a front proxy, which goes through
// all steps meanwhile: sessions are taken up, and nothing is lost.
func resumeThroughProxy(t *testing.T, addr string, steps []proxyStep) {
	t.Helper()
	var all sync.WaitGroup
	var clients []*resumeClient
	stop := make(chan struct{})
	ending := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(func() { // what goes on after the test can't fail it
		ending()
		for _, c := range clients {
			c.finish(net.ErrClosed)
		}
		all.Wait()
	})
	for i := range uint64(3) {
		// As long as it takes: it ends when the proxy has gone through everything.
		far := echoServer(t)
		c := resumeOpen(t, resumeVia{addr: addr}, relayPath(far), hasty, wide)
		clients = append(clients, c)
		all.Go(func() {
			sent := make(chan int64, 1)
			go func() {
				noise, block, n := tunnelNoise(i), make([]byte, 16<<10), int64(0)
				for pace := time.NewTicker(2 * time.Millisecond); ; <-pace.C {
					select {
					case <-stop:
						pace.Stop()
						_ = c.CloseWrite()
						sent <- n
						return
					default:
					}
					_, _ = noise.Read(block)
					k, err := c.Write(block)
					n += int64(k)
					if err != nil {
						t.Errorf("session %d: %v", i, err)
						sent <- n
						return
					}
				}
			}()
			got, n, err := tunnelSum(c)
			total := <-sent
			want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(i), total))
			if n != total || err != nil || got != want {
				t.Errorf("session %d: %d bytes of %d come back, the same: %v, %v", i, n, total, got == want, err)
			}
			c.waitOver(t)
		})
	}
	for _, c := range clients {
		c.waitBegun(t) // or the first step cuts nothing
	}
	for range 3 {
		for _, step := range steps {
			before := make([]int, len(clients))
			for i, c := range clients {
				before[i] = c.takenUp()
			}
			step.do()
			for i, c := range clients {
				eventually(t, patience, "all are taken up when the proxy "+step.name, func() bool {
					if err := c.end(); err != nil {
						t.Fatalf("when the proxy %s a session ends: %v", step.name, err)
					}
					return c.takenUp() > before[i]
				})
			}
		}
	}
	ending()
	all.Wait()
}
