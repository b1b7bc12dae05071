package actors

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

func TestRawConnectionsBeyondTheTunnelsBoundAreRejected(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
		v, other := r.ready(), r.ready()
		var open []*fakeStream
		for i := range 3 {
			open = append(open, v.accepts(fmt.Sprint(i)))
		}
		for range 2 {
			s := r.stream("late")
			v.tell(&messages.Accepted{Stream: s})
			v.wantStream(s, "reject")
		}
		other.accepts("late")
		r.wantTaken(2, 0, 4)
		v.tell(closeOf("1"))
		v.accepts("next")
		s := r.stream("late")
		v.tell(&messages.Accepted{Stream: s})
		v.wantStream(s, "reject")
		v.wantStream(open[0], "")
		v.want() // the client has heard nothing of them
	})
}

// A connection that was reset has its place, and its slot, for as long as bytes
// of it wait for the client: whoever resets one after another gets no more.
func TestRawConnectionKeepsItsPlaceUntilTheClientHasItsBytes(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 3}}, func(r *tunnelRig) {
		v := r.ready()
		var ended []*fakeStream
		for i := range 3 {
			s := v.accepts(fmt.Sprint(i))
			s.left = true
			v.toConn(s, &messages.OutsideEnded{Reason: messages.CloseReset})
			v.wantStream(s, "abort reset")
			ended = append(ended, s)
		}
		for range 2 {
			s := r.stream("late")
			v.tell(&messages.Accepted{Stream: s})
			v.wantStream(s, "reject")
		}
		time.Sleep(time.Hour)
		r.wantTaken(1, 0, 3)
		if n := len(r.log.of("raw connection ended")); n > 0 {
			t.Errorf("%d are said to have ended", n)
		}
		v.toConn(ended[1], &messages.StreamClosed{})
		r.wantTaken(1, 0, 2)
		if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != "reset" {
			t.Errorf("logged is %v", lines)
		}
		v.accepts("next")
		v.want()
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		for _, s := range []*fakeStream{ended[0], ended[2]} { // the mux drops what waits
			v.toConn(s, &messages.StreamClosed{})
		}
		v.say(&messages.MuxClosed{})
		r.wantFree()
	})
}

// Two connections under one id would mix their bytes.
func TestRawConnectionWithAnIDInUseIsRejected(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		first, second := v.accepts("c1"), r.stream("c1")
		v.tell(&messages.Accepted{Stream: second}, &messages.Data{ConnID: "c1", Data: []byte("x")})
		v.wantStream(second, "reject")
		v.wantStream(first, "write x")
	})
}

func TestRawConnectionIsRejectedOnceTheTunnelEnds(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		s := r.stream("c1")
		v.tell(&messages.Accepted{Stream: s})
		v.wantStream(s, "reject")
	})
}

func unknown(id string) string {
	return fmt.Sprintf(`control {"type":"tcp_close","connId":%q,"reason":"unknown"}`, id)
}

func TestUnknownConnectionIsAnsweredOnceAmongTheLast1024(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		for round := range 3 { // the first of them is forgotten by nothing less than 1,024 others
			for i := range 1024 {
				v.tell(data(fmt.Sprint("id", i), 1))
			}
			calls := v.take()
			if round == 0 && len(calls) != 1024 || round > 0 && len(calls) != 0 {
				t.Fatalf("round %d: %d answers", round, len(calls))
			}
			if round == 0 && calls[7] != unknown("id7") {
				t.Errorf("the answer is %q", calls[7])
			}
		}
		v.tell(data("one more", 1), data("id1", 1), data("one more", 1))
		v.want(unknown("one more"))
		v.tell(data("id0", 1))
		v.want(unknown("id0")) // it was the oldest
		if n := len(v.handled); n != 3*1024+4 {
			t.Errorf("%d messages were given back", n)
		}
	})
}

// A connId that is too long belongs to nobody, and is not worth remembering.
func TestTooLongConnectionIDIsNotAnswered(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		longest := strings.Repeat("x", messages.MaxConnID)
		v.tell(data(longest+"x", 3), data(longest, 4), data(longest, 5), data("", 6), data("", 7))
		v.want(unknown(longest), unknown(""))
		if got := fmt.Sprint(v.handled); got != "[3 4 5 6 7]" {
			t.Errorf("given back were %s", got)
		}
	})
}

// Messages about what there never was are garbage (protocol, section 8); those
// about what has just ended are not.
func TestMessagesAboutNothingAreGarbage(t *testing.T) {
	const connection, request = "a control message about a connection that there is not", "a response to a request that there is not"
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		for _, c := range []struct {
			stray any
			what  string
		}{
			{data("nobody", 1), "data for a connection that there is not"},
			{data("nobody", 1), "data for a connection that there is not"},
			{closeOf("nobody"), connection},
			{fromClient(&messages.Credit{ConnID: "nobody", Bytes: 9}, 5), connection},
			{response("nobody", 200), request},
			{fromClient(&messages.Dropped{ID: "nobody", Reason: messages.ReasonMemory}, 0), request},
		} {
			v.tell(c.stray)
			r.wantLine(slog.LevelWarn, "the tunnel's client sends", map[string]any{
				"tunnel": v.subdomain(), "user": "ann", "source": rigSource, "port": uint64(rigFirstPort), "latest": c.what, "messages": 1,
			})
			r.log.forget()
			time.Sleep(garbageLogged)
		}
		v.want(unknown("nobody"))

		v.asks("a", "GET")
		v.accepts("c1")
		v.tell(closeOf("c1"), response("a", 200))
		v.take()
		v.tell(data("c1", 1), closeOf("c1"), fromClient(&messages.Credit{ConnID: "c1", Bytes: 9}, 5), response("a", 200))
		v.want(unknown("c1"))
		if n := len(r.log.of("the tunnel's client sends")); n > 0 {
			t.Errorf("%d lines about what crossed on the way", n)
		}
	})
}

// A response that was not read for want of memory has its request answered so.
func TestDroppedResponseAnswersItsRequest(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		a := v.asks("a", "GET a")
		v.tell(fromClient(&messages.Dropped{ID: "a", Reason: messages.ReasonMemory}, 0))
		v.wantAnswer(a, "memory")
		r.wantTaken(1, 0, 0)
	})
}

// What crosses the end of its connection on the way is no fault of the client.
func TestControlForAnUnknownConnectionIsIgnored(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		v.accepts("c1")
		v.tell(closeOf("c1"), closeOf("c1"), closeOf("nobody"), fromClient(&messages.Credit{ConnID: "c1", Bytes: 9}, 5),
			fromClient(&struct{}{}, 5), fromClient(nil, 5))
		v.want()
		if got := fmt.Sprint(v.handled); got != "[5 5 5 5 5 5]" {
			t.Errorf("given back were %s", got)
		}
		if n := len(r.log.of("an actor failed")); n > 0 {
			t.Errorf("%d failures", n)
		}
	})
}

func TestGarbageIsLoggedOnceAMinute(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		garbage := func(what string, n int) {
			for range n {
				v.tell(&messages.Garbage{What: what})
			}
		}
		want := func(count int, latest string) {
			t.Helper()
			r.wantLine(slog.LevelWarn, "the tunnel's client sends", map[string]any{
				"tunnel": v.subdomain(), "user": "ann", "source": rigSource, "port": uint64(rigFirstPort), "latest": latest, "messages": count,
			})
			r.log.forget()
		}
		garbage("first", 1)
		want(1, "first")
		garbage("more", 500)
		time.Sleep(time.Minute - 1)
		garbage("more", 1)
		if n := len(r.log.of("the tunnel's client sends")); n > 0 {
			t.Errorf("%d lines within a minute", n)
		}
		time.Sleep(time.Nanosecond)
		garbage("last", 1)
		want(502, "last")
		time.Sleep(time.Hour)
		garbage("again", 1)
		want(1, "again")
		if n := len(v.handled); n != 504 {
			t.Errorf("%d messages were given back", n)
		}
		v.want() // and the tunnel lives
		r.wantWorks(v)
	})
}
