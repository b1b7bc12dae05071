package tunnel

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// outsideReads fails unless the outside peer reads just these bytes next.
func (r *rig) outsideReads(c *outsideConn, want []byte) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.outside, got); err != nil || !bytes.Equal(got, want) {
		r.t.Fatalf("the outside peer reads %.20q of %d bytes (%v), want %.20q", got, len(got), err, want)
	}
}

// Words to a peer that reads meet no actor. With credit its conn hears of them, less than a
// quarter of a window late.
func TestShortDataMeetsNoMailbox(t *testing.T) {
	for _, credit := range []bool{false, true} {
		r := startRig(t, rigOptions{credit: credit})
		c := r.open()
		c.ear.Take()
		sent, told := 0, 0
		for sent < messages.Window {
			word := testkit.Pattern(1 + rand.IntN(9000))
			r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), word))
			r.outsideReads(c, word)
			sent += len(word)
			testkit.Eventually(t, "it is counted", func() bool { _, out := c.Moved(); return out == int64(sent) })
			for _, m := range c.ear.Take() {
				told += m.(*messages.PassedOn).N
			}
			if credit && sent-told > passedWorth+9000 || told > sent || !credit && told > 0 {
				t.Fatalf("credit %v: of %d bytes %d are told", credit, sent, told)
			}
		}
		if heard := r.handler.Take(); len(heard) > 0 {
			t.Errorf("the handler hears %T", heard[0])
		}
	}
}

// Whatever goes which way: a peer that reads now and then gets everything in order, and all of
// it is told.
func TestOrderIsKeptBesideTheMailboxes(t *testing.T) {
	const size = 8 << 20
	r := startRig(t, rigOptions{credit: true})
	c := r.open()
	c.ear.Take()
	mailed := 0
	stop := r.handles(func(m any) {
		data := m.(*messages.Data)
		mailed += len(data.Data)
		c.Hold(data.Data)
		c.Write(data.Data)
	})
	all := testkit.Pattern(size)
	go func() {
		for rest := all; len(rest) > 0; {
			n := min(len(rest), 1<<rand.IntN(17))
			if r.client.WriteMessage(websocket.BinaryMessage, dataMessage(c.ID(), rest[:n])) != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	for got := 0; got < size; {
		if got%3 == 0 { // so that now there is room, and now there is none
			testkit.Eventually(t, "something waits, or all has come", func() bool {
				_, out := c.Moved()
				waiting, _ := c.Waiting()
				return waiting > 0 || out == size
			})
		}
		n := min(size-got, 1+rand.IntN(300<<10))
		r.outsideReads(c, all[got:got+n])
		got += n
	}
	testkit.Eventually(t, "nothing waits any more", func() bool { waiting, _ := c.Waiting(); return waiting == 0 })
	stop()
	told := 0
	testkit.Eventually(t, "all but less than a quarter of a window is told", func() bool {
		for _, m := range c.ear.Take() {
			switch m := m.(type) {
			case *messages.Flushed:
				told += m.N
			case *messages.PassedOn:
				told += m.N
			}
		}
		return told > size-passedWorth
	})
	if told > size || mailed == 0 || mailed == size {
		t.Errorf("%d of %d bytes are told, %d went by mailboxes", told, size, mailed)
	}
}

// Behind the client's tcp_close, and when the outside peer has ended its stream, each word is
// the conn's to judge.
func TestDataMeetsTheConnWhereThatDecides(t *testing.T) {
	for name, end := range map[string]func(*rig, *outsideConn){
		"the client has closed": func(r *rig, c *outsideConn) {
			r.clientSends(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"`+c.ID()+`"}`))
			r.settle(testkit.Hears[*messages.FromClient](r.handler))
		},
		"the peer has ended": func(r *rig, c *outsideConn) {
			_ = c.outside.CloseWrite()
			testkit.Hears[*messages.OutsideEnded](c.ear)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, rigOptions{})
			c := r.open()
			r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), []byte("before")))
			r.outsideReads(c, []byte("before"))
			end(r, c)
			r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), []byte("behind")))
			m := testkit.Hears[*messages.Data](r.handler)
			r.settle(m)
			if string(m.Data) != "behind" {
				t.Errorf("the handler is told %q", m.Data)
			}
		})
	}
}

// A word to a peer that reads costs no allocation.
func TestShortDataCostsNoAllocation(t *testing.T) {
	r := newBareRig(t, rigOptions{})
	in := r.mux.newInbound()
	near, far := testkit.TCPPair(t)
	s := newStream(r.mux, far, "peer")
	s.accepted.Store(true)
	s.opened = true
	s.direct, _ = wsock.NewTryWriter(far)
	r.mux.streams.add(s)
	message := binary.BigEndian.AppendUint32(nil, uint32(len(s.id)))
	message = append(append(message, s.id...), "a word"...)
	got := make([]byte, len("a word"))
	pass := func() {
		if in.payload(message, false, true); in.refused != "" {
			t.Fatal(in.refused)
		}
		if _, err := io.ReadFull(near, got); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	if n := testing.AllocsPerRun(500, pass); n > 0 {
		t.Errorf("a word costs %v allocations", n)
	}
	s.Abort(messages.CloseShutdown)
}
