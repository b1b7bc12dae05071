package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

func TestTunnelReadyIsWhatTheProtocolSays(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		for _, test := range []struct {
			credit, bytes bool
			port          int
			want          string
		}{
			{false, false, 10000, `{"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":10000,"rawHost":"raw.example","credentials":true}`},
			{true, false, 10001, `{"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":10001,"rawHost":"raw.example","credentials":true,"window":262144}`},
			{true, true, 10002, `{"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":10002,"rawHost":"raw.example","credentials":true,"window":262144,"http":"bytes"}`},
		} {
			v := r.knock(func(open *messages.OpenTunnel) { open.Credit, open.Bytes = test.credit, test.bytes })
			v.say(&messages.Upgraded{})
			v.want("own", fmt.Sprintf("listen %d", test.port))
			v.say(&messages.PortOpened{Port: uint16(test.port)})
			v.want("start " + fmt.Sprintf(test.want, v.subdomain()))
			if !messages.IsSubdomain(v.subdomain()) {
				t.Errorf("%q is no subdomain", v.subdomain())
			}
			if want := HandlerPID(r.system, v.subdomain(), test.bytes); v.handler.Id != want.Id {
				t.Errorf("the handler is %s, requests go to %s", v.handler.Id, want.Id)
			}
			if r.alive(HandlerPID(r.system, v.subdomain(), !test.bytes)) {
				t.Error("somebody handles requests of the other kind")
			}
		}
	})
}

// raw=off: ports are for those who want one.
func TestTunnelWithoutARawPort(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.knock(func(open *messages.OpenTunnel) { open.NoRaw = true })
		v.say(&messages.Upgraded{})
		v.want("own", fmt.Sprintf(`start {"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":0,"rawHost":"raw.example","credentials":true}`, v.subdomain()))
		if lines := r.log.of("no raw port"); len(lines) > 0 {
			t.Errorf("somebody is warned: %v", lines)
		}
		r.wantLine(slog.LevelInfo, "tunnel ready", map[string]any{"tunnel": v.subdomain(), "user": "ann", "source": rigSource, "port": uint16(0)})
		v.end()
		r.wantFree()
	})
}

func TestTunnelTellsItsLifeInThreeLines(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withCredit)
		who := func(more map[string]any) map[string]any {
			more["tunnel"], more["user"], more["source"] = v.subdomain(), "ann", rigSource
			return more
		}
		r.wantLine(slog.LevelInfo, "tunnel started", who(map[string]any{"credit": true}))
		r.wantLine(slog.LevelInfo, "tunnel ready", who(map[string]any{"port": uint16(10000)}))
		time.Sleep(1500 * time.Millisecond)
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientClosed})
		v.want("finish client_closed")
		if n := len(r.log.of("tunnel ended")); n != 0 {
			t.Error("the end is logged before all is closed")
		}
		v.say(&messages.MuxClosed{})
		r.wantLine(slog.LevelInfo, "tunnel ended", who(map[string]any{
			"port": rigFirstPort, "reason": "client_closed", "bytes_to_client": 11, "bytes_from_client": 22, "duration_ms": 1500,
		}))
		if r.meter.of("tunnel started") != 1 || r.meter.of("tunnel ended client_closed") != 1 {
			t.Errorf("the meter counts %v", r.meter.counts)
		}
		r.wantFree()
	})
}

func TestTunnelThatNeverStartedIsNotLogged(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.knock()
		r.wantTaken(1, 0, 0)
		v.say(&messages.Abandoned{})
		v.want("own", "finish abandoned")
		v.say(&messages.MuxClosed{})
		if len(r.log.of("tunnel")) > 0 || len(r.meter.counts) > 0 {
			t.Errorf("a tunnel that was never there: lines %v, counts %v", r.log.of("tunnel"), r.meter.counts)
		}
		r.wantFree()
	})
}

func TestTunnelOfAnyoneIsLoggedAsAnonymous(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
		for range 2 { // nobody's limit does not apply
			v := r.ready(func(open *messages.OpenTunnel) { open.User = "" })
			v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
			defer v.say(&messages.MuxClosed{})
		}
		for _, line := range r.log.of("tunnel started") {
			if line.fields["user"] != "anonymous" {
				t.Errorf("the line has the fields %v", line.fields)
			}
		}
	})
}

func TestBusyPortIsSkipped(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.knock()
		v.say(&messages.Upgraded{})
		v.say(&messages.PortOpened{Port: 10000, Err: errors.New("address already in use")})
		v.say(&messages.PortOpened{Port: 10001, Err: errors.New("address already in use")})
		v.want("own", "listen 10000", "listen 10001", "listen 10002")
		v.say(&messages.PortOpened{Port: 10002})
		v.want(fmt.Sprintf(`start {"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":10002,"rawHost":"raw.example","credentials":true}`, v.subdomain()))
		if n := len(r.log.of("no raw port")); n > 0 {
			t.Error("a warning though a port was found")
		}
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.say(&messages.MuxClosed{})
		r.wantFree()
	})
}

// A tunnel without a raw port has HTTP, and says so: to its client by rawPort
// 0, to the operator by a warning.
func TestTunnelWithoutAPortHasHTTP(t *testing.T) {
	for name, busy := range map[string]bool{"all lent": false, "all busy": true} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				if !busy {
					for range 3 {
						r.takes(r.lodger(), 0)
					}
				}
				v := r.knock()
				v.say(&messages.Upgraded{})
				for port := uint16(10000); busy && port <= 10002; port++ {
					v.say(&messages.PortOpened{Port: port, Err: errors.New("address already in use")})
				}
				want := fmt.Sprintf(`start {"type":"tunnel_ready","tunnelUrl":"https://%s.t.example","rawPort":0,"rawHost":"raw.example","credentials":true}`, v.subdomain())
				if calls := v.take(); calls[len(calls)-1] != want || busy && len(calls) != 5 || !busy && len(calls) != 2 {
					t.Errorf("the mux was told %q", calls)
				}
				r.wantLine(slog.LevelWarn, "no raw port is free", map[string]any{
					"tunnel": v.subdomain(), "user": "ann", "source": rigSource,
				})
				q := v.asks("a", "GET")
				v.want("control GET")
				v.tell(response("a", 200))
				v.wantAnswer(q, "200")
			})
		})
	}
}

func TestFailedListenerIsReopenedWithBackoff(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		broken := errors.New("broken")
		v.say(&messages.PortFailed{Err: broken})
		r.wantLine(slog.LevelWarn, "the raw port's listener failed", map[string]any{
			"tunnel": v.subdomain(), "user": "ann", "source": rigSource, "port": 10000, "error": broken,
		})
		for _, wait := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			time.Sleep(wait*time.Millisecond - 1)
			v.want()
			time.Sleep(time.Nanosecond)
			r.settle()
			v.want("listen 10000")
			v.say(&messages.PortOpened{Port: 10000, Err: broken})
		}
		time.Sleep(lastReopen)
		r.settle()
		v.say(&messages.PortOpened{Port: 10000})
		v.want("listen 10000")
		if len(r.log.of("the raw port is open again")) != 1 {
			t.Error("no line says that the port is open again")
		}
		v.say(&messages.PortFailed{Err: broken}) // the wait is short again
		time.Sleep(firstReopen)
		r.settle()
		v.want("listen 10000")
		v.wantStream(s, "") // connections are not concerned
		v.tell(&messages.Data{ConnID: "c1", Data: []byte("x")})
		v.wantStream(s, "write x")
		v.tell(&messages.Accepted{Stream: r.stream("c2")})
	})
}

func TestListenerOfAnEndingTunnelIsNotReopened(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		v.say(&messages.PortFailed{Err: errors.New("broken")})
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.say(&messages.PortFailed{Err: errors.New("broken")})
		time.Sleep(time.Minute)
		v.want("finish client_gone", "finish client_gone") // the second is the handler's patience
		if n := len(r.log.of("the raw port's listener failed")); n != 1 {
			t.Errorf("%d lines promise to open the port again, want 1", n)
		}
		v.say(&messages.MuxClosed{})
	})
}

// What the handler says at last reaches the client only before the close
// frame.
func TestHandlerHasItsLastWordBeforeTheLinkCloses(t *testing.T) {
	for _, test := range []struct {
		name    string
		message any
		reason  messages.Reason
		refusal messages.Reason
		late    messages.Reason // what a request hears that comes then
		told    string
	}{
		{"client closed", &messages.MuxEnded{Reason: messages.ReasonClientClosed}, messages.ReasonClientClosed, messages.ReasonTunnelGone, messages.ReasonNoTunnel, "leave"},
		{"client silent", &messages.MuxEnded{Reason: messages.ReasonClientSilent}, messages.ReasonClientSilent, messages.ReasonTunnelGone, messages.ReasonNoTunnel, "leave"},
		{"message too big", &messages.MuxEnded{Reason: messages.ReasonMessageTooBig}, messages.ReasonMessageTooBig, messages.ReasonTunnelGone, messages.ReasonNoTunnel, "leave"},
		{"shutdown", &messages.Shutdown{}, messages.ReasonShutdown, messages.ReasonShutdown, messages.ReasonShutdown, "abort shutdown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v := r.ready()
				q, s := v.asks("a", "GET"), v.accepts("c1")
				v.take()
				before := ""
				v.onFinish = func() { before = s.take() } // what the stream was told until then
				v.say(test.message)
				v.want("finish " + string(test.reason))
				if !strings.HasPrefix(before, test.told) {
					t.Error("the mux was finished before the handler had closed its connections")
				}
				v.wantAnswer(q, string(test.refusal))
				v.say(&messages.MuxEnded{Reason: messages.ReasonInternal}) // the first reason counts
				v.want()
				late := v.asks("b", "GET")
				v.wantAnswer(late, string(test.late))
				v.say(&messages.MuxClosed{})
				if r.meter.of("tunnel ended "+string(test.reason)) != 1 {
					t.Errorf("the meter counts %v", r.meter.counts)
				}
				r.wantFree()
			})
		})
	}
}

// An end that waits for nobody cuts the mux when it is finished, and no sooner; also if
// it was finished before.
func TestShutdownAtOnceCutsTheTunnel(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		v.say(&messages.Shutdown{AtOnce: true})
		v.want("finish shutdown", "cut")
		w := r.ready()
		w.say(&messages.Shutdown{})
		w.want("finish shutdown")
		w.say(&messages.Shutdown{AtOnce: true})
		w.want("cut")
		for _, v := range []*rigTunnel{v, w} {
			v.say(&messages.MuxClosed{})
			v.say(&messages.Shutdown{AtOnce: true})
			v.want()
		}
		if s.Ended() != messages.CloseShutdown {
			t.Errorf("the connection ended for %q", s.Ended())
		}
		for _, line := range r.log.of("tunnel ended") {
			if line.fields["reason"] != "shutdown" || line.fields["port"].(uint64) < rigFirstPort {
				t.Errorf("the line of the end is %v", line)
			}
		}
		r.wantFree()
	})
}

// A handler that fails as it is told to close must not keep the mux open.
func TestLinkClosesWithoutAHandlerThatFails(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		q, s := v.asks("a", "GET"), v.accepts("c1")
		v.take()
		r.fault = failOnce[*messages.CloseHandler]()
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.want()
		v.wantAnswer(q, "restarted")
		if s.Ended() != messages.CloseRestart {
			t.Errorf("the connection ended for %q", s.Ended())
		}
		time.Sleep(handlerPatience)
		r.settle()
		v.want("finish client_gone")
		v.say(&messages.MuxClosed{})
		if r.alive(v.handler) {
			t.Error("the handler lives on")
		}
		r.wantFree()
	})
}
