package actors

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"wsproxy/messages"
	"wsproxy/messages/inspect"
)

// list returns what all tunnels answer that have begun.
func (r *tunnelRig) list() (begun []inspect.Session) {
	r.t.Helper()
	answer := make(chan inspect.Asked, 1)
	r.send(r.tunnels, &inspect.List{Most: 10, Answer: answer})
	asked := <-answer
	if len(asked.Sessions) != asked.Number {
		r.t.Fatalf("of %d tunnels %d answer", asked.Number, len(asked.Sessions))
	}
	for range asked.Number {
		if s := <-asked.Sessions; !s.Since.IsZero() {
			begun = append(begun, s)
		}
	}
	return begun
}

func (r *tunnelRig) close(id string) int {
	r.t.Helper()
	answer := make(chan int, 1)
	r.send(r.tunnels, &inspect.Close{ID: id, Answer: answer})
	return <-answer
}

func TestTunnelsSayWhatTheyAre(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		r.knock() // has no WebSocket yet
		v := r.ready(withResume)
		time.Sleep(time.Minute)
		v.accepts("c1")
		q, open := v.request("a", "")
		v.tell(open)
		v.setMemory(1234)
		show := func() string {
			all := r.list()
			if len(all) != 1 {
				t.Fatalf("there are %+v", all)
			}
			s := all[0]
			if s.Source != netip.MustParseAddr(rigSource) || s.ID != v.subdomain() || s.Tunnel.Subdomain != s.ID || s.Kind != "tunnel" || s.User != "ann" {
				t.Errorf("it says %+v", s)
			}
			return fmt.Sprint(s.State, time.Since(s.Since).Truncate(time.Second), s.Resumed, !s.DetachedSince.IsZero(), *s.Tunnel)
		}
		if got, want := show(), fmt.Sprint("ready", time.Minute, 0, false, inspect.Part{Subdomain: v.subdomain(), Port: rigFirstPort, Connections: 1, Requests: 1, Held: 1234}); got != want {
			t.Errorf("it says %s, want %s", got, want)
		}
		v.tell(&messages.CancelRequest{ID: "a"})
		<-q.answers
		v.take()
		v.lose(0)
		if got, want := show(), fmt.Sprint("detached", time.Minute, 0, true, inspect.Part{Subdomain: v.subdomain(), Port: rigFirstPort, Connections: 1, Held: 1234}); got != want {
			t.Errorf("away it says %s, want %s", got, want)
		}
	})
}

// A name is told only of the tunnel that has it.
func TestTunnelsSayTheirNames(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		for _, subdomain := range []string{"", "0123456789abcdef"} {
			v := r.ready(func(open *messages.OpenTunnel) { open.Name, open.Subdomain = "web", subdomain })
			want := ""
			if subdomain != "" {
				want = "web"
			}
			if all := r.list(); len(all) != 1 || all[0].Tunnel.Name != want || subdomain != "" && all[0].ID != subdomain {
				t.Errorf("they are %+v, want the name %q", all, want)
			}
			if n := r.close(r.list()[0].ID); n != 1 {
				t.Errorf("%d are closed", n)
			}
			v.take()
			v.say(&messages.MuxClosed{})
		}
	})
}

// The operator ends a tunnel: in order, and if that is not enough at once. It is no
// shutdown, of which its client would come back.
func TestOperatorEndsATunnel(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, other := r.ready(), r.ready()
		s := v.accepts("c1")
		s.slow, s.left = true, true
		if n := r.close(v.subdomain()); n != 1 {
			t.Errorf("%d are closed", n)
		}
		v.want("finish operator")
		v.say(&messages.MuxClosed{})
		if all := r.list(); len(all) != 2 || all[0].State != "leaving" && all[1].State != "leaving" {
			t.Errorf("there are %+v", all)
		}
		if s.Ended() != "" {
			t.Error("a connection that still has something for its peer is reset")
		}
		r.close(v.subdomain())
		if s.Ended() != messages.CloseShutdown {
			t.Errorf("closed twice, its connection ends with %q", s.Ended())
		}
		if n := r.close("0123456789abcdef"); n != 0 {
			t.Errorf("%d of no subdomain are closed", n)
		}
		other.want()
		other.end()
	})
}

func TestTunnelsEndAtTheirAge(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxAge: time.Hour}}, func(r *tunnelRig) {
		v := r.ready(withResume)
		time.Sleep(time.Hour - time.Minute)
		v.lose(0)
		time.Sleep(time.Minute - time.Second)
		v.want()
		time.Sleep(11500 * time.Millisecond)
		r.settle()
		if calls := v.take(); len(calls) == 0 || calls[0] != "finish too_old" {
			t.Errorf("at its age it is told %q", calls)
		}
		r.wantMeter("")
		v.say(&messages.MuxClosed{})
		r.wantMeter("too_old after 1m10.5s")
	})
}
