package listen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// Every byte arrives, in order, both ways at once, and then the end.
func TestBytesArrive(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		data := make([]byte, 4<<20)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		var running sync.WaitGroup
		for _, way := range []struct {
			name     string
			from, to net.Conn
		}{{"up", client, edge.Conn}, {"down", edge.Conn, client}} {
			running.Go(func() {
				for rest := data; len(rest) > 0; {
					n := min(1+rand.IntN(60_000), len(rest))
					if _, err := way.from.Write(rest[:n]); err != nil {
						t.Errorf("%s: %v", way.name, err)
						return
					}
					rest = rest[n:]
				}
				closeWrite(way.from)
			})
			running.Go(func() {
				if got, err := io.ReadAll(way.to); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s: %d bytes have come, %v", way.name, len(got), err)
				}
			})
		}
		running.Wait()
	})
}

// One stream may end long before the other.
func TestHalfClose(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		say(client, "question")
		closeWrite(client)
		if got, err := io.ReadAll(edge.Conn); string(got) != "question" || err != nil {
			t.Fatalf("the edge has %q, %v", got, err)
		}
		say(edge.Conn, "an answer, ")
		wantText(t, client, "an answer, ")
		say(edge.Conn, "and more")
		edge.Conn.Close()
		if got, err := io.ReadAll(client); string(got) != "and more" || err != nil {
			t.Fatalf("the client has %q, %v", got, err)
		}

		client, edge = r.connect()
		say(edge.Conn, "hello")
		closeWrite(edge.Conn)
		wantText(t, client, "hello")
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("the client has %d, %v", n, err)
		}
		for range 3 {
			<-time.After(messages.Linger / looks) // it is looked whether the edge has closed it
			say(client, "more")
			wantText(t, edge.Conn, "more")
		}
	})
}

// What the edge closes, or cuts, is closed for the client, who need not do anything.
func TestEdgeEnds(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		say(edge.Conn, "bye")
		edge.Conn.Close()
		wantText(t, client, "bye")
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("closed: %d, %v", n, err)
		}
		testkit.Eventually(t, "the socket is closed", func() bool {
			_, err := r.bare(client).Write([]byte{0})
			return err != nil
		})

		client, edge = r.connect()
		_ = edge.Conn.SetLinger(0)
		edge.Conn.Close()
		if _, err := client.Read(make([]byte, 1)); r.resets && !errors.Is(err, syscall.ECONNRESET) || err == nil {
			t.Errorf("cut: %v", err)
		}
	})
}

// What the client closes or cuts is so for the edge.
func TestClientEnds(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		say(client, "bye")
		r.bare(client).Close() // without a word of TLS
		wantText(t, edge.Conn, "bye")
		if n, err := edge.Conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("closed: %d, %v", n, err)
		}
		if !r.resets {
			return
		}
		client, edge = r.connect()
		_ = r.bare(client).(*net.TCPConn).SetLinger(0)
		r.bare(client).Close()
		if _, err := edge.Conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut: %v", err)
		}
	})
}

// A client that takes nothing keeps nothing once the edge has cut it, or has closed it and
// waited.
func TestClientTakesNothing(t *testing.T) {
	t.Parallel()
	opened := make(map[string]*road)
	for name, open := range allRoads { // they wait together
		r := open(t)
		r.t, opened[name] = t, r
		defer r.Close()
		for _, cuts := range []bool{true, false} {
			_, edge := r.connect()
			fill(edge.Conn)
			if cuts {
				_ = edge.Conn.SetLinger(0)
			}
			edge.Conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	for name, r := range opened {
		if r.Flush(ctx); ctx.Err() != nil {
			t.Errorf("%s: it is written to for ever", name)
		}
	}
}

// fill writes until the kernels take no more, and returns how many bytes they took at
// most.
func fill(conn net.Conn) (n int) {
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			return n
		}
		n += 64 << 10
	}
}

// A client that reads nothing holds up the edge: nothing is kept in between but what the
// kernels take.
func TestNothingIsBuffered(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		for name, conn := range map[string]net.Conn{"down": edge.Conn, "up": client} {
			if n := fill(conn); n >= 64<<20 {
				t.Errorf("%s: %d bytes were taken", name, n)
			}
		}
	})
}

// At the end all that was written before is sent.
func TestFlush(t *testing.T) {
	roads(t, func(t *testing.T, r *road) {
		client, edge := r.connect()
		data := make([]byte, 1<<20)
		go func() {
			_, _ = edge.Conn.Write(data)
			edge.Conn.Close()
		}()
		got, err := io.ReadAll(client)
		r.Flush(t.Context())
		if err != nil || len(got) != len(data) || r.unflushed.Load() != 0 {
			t.Errorf("%d bytes have come, %v; %d are left", len(got), err, r.unflushed.Load())
		}
	})
}
