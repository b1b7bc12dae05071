package actors

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/limits"
	"wsproxy/actors/ports"
	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// A tunnelRig is the actors of the tunnels without a socket, in a bubble of
// synctest: when settle returns, every actor has handled all that it was sent,
// so that a test looks at what was done and never waits for it.
type tunnelRig struct {
	t       *testing.T
	system  *actor.ActorSystem
	root    *actor.RootContext
	book    *limits.Book // of the limits actor
	waiting atomic.Int64 // how many claims wait, as the limits actor has told
	limits  *actor.PID   // the limits actor, or asked
	ports   *actor.PID   // the ports actor, or asked
	tunnels *actor.PID
	asked   *rigProbe // stands in for limits and ports, if the rig is byHand
	meter   *rigMeter
	log     *rigLog
	excess  atomic.Int64      // of the memory of all tunnels
	fault   func(message any) // called with what a handler gets; set while all is settled
}

type rigOptions struct {
	byHand bool // limits and ports are a probe, which the test answers for
	bounds Bounds
	needs  Tunnels // zero fields get defaults
}

const noLimit = -1 // of a bound in rigOptions

const (
	rigFirstPort = 10000
	rigLastPort  = 10002
	rigSource    = "192.0.2.7"
)

// What the protocol says, written down once more: a constant of the code that
// has changed must not change the tests with it.
const (
	protocolIdle   = 30 * time.Second // of a half-closed connection
	protocolTurn   = 5 * time.Second  // of a request that waits for its turn
	protocolWindow = 10 * time.Second // of ten failures
	protocolShare  = 1 << 20          // of what waits for an outside peer
)

var rigCount = netip.PrefixFrom(netip.MustParseAddr(rigSource), 32)

// inRig runs a test in a bubble with a rig. The library's timer for dead
// letters, which can't be stopped, gets the time that it needs to end.
func inRig(t *testing.T, options rigOptions, test func(*tunnelRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, options)
		test(r)
		r.root.Send(r.tunnels, &messages.Shutdown{})
		r.settle()
		r.system.Shutdown()
		time.Sleep(2 * time.Second)
	})
}

func newRig(t *testing.T, options rigOptions) *tunnelRig {
	t.Helper()
	r := &tunnelRig{t: t, meter: &rigMeter{counts: make(map[string]int)}, log: &rigLog{}}
	log := slog.New(rigHandler{log: r.log})
	r.system = supervise.NewSystem(log)
	r.root = r.system.Root
	r.asked = r.probe()
	r.limits, r.ports = r.asked.pid, r.asked.pid
	var err error
	if !options.byHand {
		r.book = limits.NewBook(options.bounds)
		r.book.Watch = func(n int) { r.waiting.Store(int64(n)) }
		if r.limits, err = limits.Spawn(r.system, r.book, nil, log); err != nil {
			t.Fatal(err)
		}
		if r.ports, err = ports.Spawn(r.system, rigFirstPort, rigLastPort, nil, log); err != nil {
			t.Fatal(err)
		}
	}
	needs := options.needs
	needs.Limits, needs.Ports, needs.Meter, needs.Log = r.limits, r.ports, r.meter, log
	needs.Refused = r.log
	needs.Memory = (*rigPool)(&r.excess)
	needs.Lasting = sessions.Terms{Timeout: rigPatience, Endpoint: "tunnel", Meter: r.meter, Limits: r.limits}
	needs.PublicURL, needs.RawHost, needs.Credentials = "https://*.t.example", "raw.example", true
	needs.PortTries = max(needs.PortTries, 3)
	for _, bound := range []*int{&needs.MaxHTTP, &needs.MaxConns} {
		switch *bound {
		case noLimit:
			*bound = 0
		case 0:
			*bound = 3
		}
	}
	needs.StallTimeout = 3 * time.Second
	needs.Inject = func(message any) {
		if r.fault != nil {
			r.fault(message)
		}
	}
	if r.tunnels, err = SpawnTunnels(r.system, needs); err != nil {
		t.Fatal(err)
	}
	return r
}

// settle returns when all actors have handled what they were sent.
func (r *tunnelRig) settle() { synctest.Wait() }

func (r *tunnelRig) send(to *actor.PID, m any) {
	r.t.Helper()
	if to == nil {
		r.t.Fatalf("nobody is there to get a %T", m)
	}
	r.root.Send(to, m)
	r.settle()
}

// alive reports whether an actor is registered.
func (r *tunnelRig) alive(pid *actor.PID) bool {
	_, found := r.system.ProcessRegistry.Get(pid)
	return found
}

func (r *tunnelRig) takePort(holder *actor.PID, busy uint16) {
	r.send(r.ports, &messages.TakePort{Holder: holder, Busy: busy})
}

// drain tells the tunnels to drain, and returns what is closed at the last end.
func (r *tunnelRig) drain() <-chan struct{} {
	done := make(chan struct{})
	r.send(r.tunnels, &messages.Drain{Done: done})
	return done
}

// A rigProbe keeps what it is sent.
type rigProbe struct {
	t   *testing.T
	pid *actor.PID
	got chan any
}

func (r *tunnelRig) probe() *rigProbe {
	p := &rigProbe{t: r.t, got: make(chan any, 1<<12)}
	p.pid, _ = r.system.ProcessRegistry.Add(p, "rig-"+messages.NewID(8))
	return p
}

func (p *rigProbe) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	p.got <- m
}
func (p *rigProbe) SendSystemMessage(*actor.PID, any) {} // watches
func (p *rigProbe) Stop(*actor.PID)                   {}

// all returns what was sent since the last call.
func (p *rigProbe) all() (sent []any) {
	for len(p.got) > 0 {
		sent = append(sent, <-p.got)
	}
	return sent
}

// port returns the port that was lent: the only thing that was sent.
func (p *rigProbe) port() uint16 {
	p.t.Helper()
	sent := p.all()
	if len(sent) != 1 {
		p.t.Fatalf("the holder was sent %d messages", len(sent))
	}
	return sent[0].(*messages.PortTaken).Port
}

// A rigTunnel is a tunnel in the eyes of the edge.
type rigTunnel struct {
	*fakeLink
	r       *tunnelRig
	answers chan messages.Admission
}

// knock asks for a tunnel.
func (r *tunnelRig) knock(edit ...func(*messages.OpenTunnel)) *rigTunnel {
	r.t.Helper()
	v := &rigTunnel{fakeLink: &fakeLink{}, r: r, answers: make(chan messages.Admission, 4)}
	open := &messages.OpenTunnel{Source: rigCount.Addr(), Count: rigCount, User: "ann", Upgrade: true, Mux: v.fakeLink, Answer: v.answers}
	for _, e := range edit {
		e(open)
	}
	r.send(r.tunnels, open)
	return v
}

func withCredit(open *messages.OpenTunnel) { open.Credit = true }
func withBytes(open *messages.OpenTunnel)  { open.Credit, open.Bytes = true, true }

// say sends the tunnel a message.
func (v *rigTunnel) say(m any) {
	v.r.t.Helper()
	v.r.send(v.owner, m)
}

// tell sends the handler messages, together.
func (v *rigTunnel) tell(ms ...any) {
	v.r.t.Helper()
	for _, m := range ms {
		v.r.root.Send(v.handler, m)
	}
	v.r.settle()
}

// ready leads a tunnel to where it works, on the first port that is lent.
func (r *tunnelRig) ready(edit ...func(*messages.OpenTunnel)) *rigTunnel {
	r.t.Helper()
	v := r.knock(edit...)
	v.say(&messages.Upgraded{})
	var port uint16
	if _, err := fmt.Sscanf(v.last(), "listen %d", &port); err != nil {
		r.t.Fatalf("the tunnel does not listen: %q", v.calls)
	}
	v.say(&messages.PortOpened{Port: port})
	if v.handler == nil {
		r.t.Fatalf("the tunnel does not start: %q", v.calls)
	}
	v.take()
	return v
}

func (v *rigTunnel) subdomain() string {
	_, name, _ := strings.Cut(v.owner.Id, "/")
	return name
}

// answer returns the one answer that the edge has had, as a word.
func (v *rigTunnel) answer() string {
	v.r.t.Helper()
	if len(v.answers) != 1 {
		v.r.t.Fatalf("the edge has %d answers", len(v.answers))
	}
	a := <-v.answers
	if (a.Session == nil) == (a.Refusal == "") {
		v.r.t.Errorf("the answer is %+v", a)
	}
	if a.Session != nil {
		return "admitted"
	}
	return string(a.Refusal)
}

// want fails unless the mux was told this, and nothing else, since the last
// look.
func (v *rigTunnel) want(calls ...string) {
	v.r.t.Helper()
	if got := v.take(); !slices.Equal(got, calls) {
		v.r.t.Errorf("the mux was told %q, want %q", got, calls)
	}
}

// readyByHand is ready in a rig that is byHand.
func (r *tunnelRig) readyByHand() *rigTunnel {
	r.t.Helper()
	v := r.knock()
	v.say(&messages.Granted{})
	v.say(&messages.Upgraded{})
	v.say(&messages.PortTaken{Port: rigFirstPort})
	v.say(&messages.PortOpened{Port: rigFirstPort})
	v.take()
	r.asked.all()
	return v
}

// end leads a tunnel to its end.
func (v *rigTunnel) end() {
	v.r.t.Helper()
	v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
	v.say(&messages.MuxClosed{})
}

// A rigRequest is an HTTP request in the eyes of the edge.
type rigRequest struct {
	id      string
	proceed chan messages.Mux
	answers chan messages.Answer
	revoked int
	held    int64 // set while all is settled
}

// request makes a request. Without a frame it wants to proceed first.
func (v *rigTunnel) request(id, frame string) (*rigRequest, *messages.OpenRequest) {
	q := &rigRequest{id: id, proceed: make(chan messages.Mux, 4), answers: make(chan messages.Answer, 4)}
	open := &messages.OpenRequest{ID: id, Count: rigCount, Exchange: q, Proceed: q.proceed, Answer: q.answers}
	if frame != "" {
		open.Frame = slices.Clip([]byte(frame))
	}
	return q, open
}

// asks sends a request to the handler.
func (v *rigTunnel) asks(id, frame string) *rigRequest {
	v.r.t.Helper()
	q, open := v.request(id, frame)
	v.tell(open)
	return q
}

// wantAnswer fails unless a request has had exactly this one answer: a reason,
// or the status of a response. With a response comes the request's slot, which
// is given back.
func (v *rigTunnel) wantAnswer(q *rigRequest, want string) {
	v.r.t.Helper()
	select {
	case a := <-q.answers:
		got := string(a.Refusal)
		if a.Response != nil {
			got += fmt.Sprint(a.Response.Status)
			v.r.send(v.r.limits, &messages.Release{Holder: v.handler, Claims: a.Claims})
			v.r.send(v.handler, &messages.Delivered{ID: q.id})
		}
		if got != want {
			v.r.t.Errorf("request %s is answered %q, want %q", q.id, got, want)
		}
	default:
		if want != "" {
			v.r.t.Errorf("request %s has no answer, want %q", q.id, want)
		}
	}
	if len(q.answers) > 0 {
		v.r.t.Errorf("request %s has one more answer: %+v", q.id, <-q.answers)
	}
}

func fromClient(m any, size int) *messages.FromClient {
	return &messages.FromClient{Message: m, Size: size}
}

func response(id string, status int) *messages.FromClient {
	return fromClient(&messages.Response{ID: id, Status: status}, 10)
}

// failOnce makes a handler fail at the first message of a type.
func failOnce[M any]() func(any) {
	failed := false
	return func(message any) {
		if _, hit := message.(M); hit && !failed {
			failed = true
			panic("injected")
		}
	}
}
