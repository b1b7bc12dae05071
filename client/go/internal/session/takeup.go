package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

const (
	// firstPause and longestPause are between two tries to take a session up. The
	// first try is at once.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// settled is how long a WebSocket must have lived for its loss to be a new
	// one, if nothing has come: then a try is at once again.
	settled = 10 * time.Second
	// answered is how long the first message may take, behind the handshake.
	answered = 10 * time.Second
	// young is an age up to which a try goes on when the machine has woken up.
	young = time.Second
)

// tries is what the session knows of its tries to take it up.
type tries struct {
	number uint64    // of the last one; the server takes none that is not above it
	failed int       // in a row
	taken  time.Time // when the last one succeeded
	at     time.Time // when the one under way began
	stop   context.CancelFunc
	hurry  chan struct{} // ends the pause
}

// takeUp takes the session up on another WebSocket, whose loss before was this
// error, and returns that; or nil if the session is over.
func (s *Session) takeUp(lost error) *socket.Conn {
	since := now()
	s.mu.Lock()
	t := &s.tries
	if t.hurry == nil {
		t.hurry = make(chan struct{}, 1)
	}
	if t.failed > 0 && elapsed(t.taken, since) > settled {
		t.failed = 0
	}
	quiet := s.closing.aborted
	s.pulse.watch(s)
	s.mu.Unlock()
	if !quiet && s.o.OnDetached != nil {
		s.o.OnDetached(lost)
	}
	s.pause(min(spread(lost), s.timeout/2)) // later there would be nothing to take up
	for {
		s.mu.Lock()
		failed := t.failed
		s.mu.Unlock()
		if failed > 0 {
			s.pause(min(backOff(failed-1), max(s.timeout-elapsed(since, now()), 0)))
		}
		sock, err := s.try()
		if err == nil {
			if !quiet && s.o.OnResumed != nil {
				s.o.OnResumed(elapsed(since, now()))
			}
			return sock
		}
		var last final
		switch {
		case s.ctx.Err() != nil:
			s.finish(fmt.Errorf("%w: it was ended while it had no WebSocket", ErrLost))
			return nil
		case errors.As(err, &last):
			s.finish(last.error)
			return nil
		case elapsed(since, now()) >= s.timeout:
			s.finish(fmt.Errorf("%w: it could not be taken up within %v, at last because: %w", ErrLost, s.timeout, err))
			return nil
		}
		if !quiet && s.o.OnRetry != nil {
			s.o.OnRetry(err)
		}
	}
}

// A final is an error after which no try is of any use; nil if the session has
// ended in order.
type final struct{ error }

func (f final) Error() string { return fmt.Sprint(f.error) }

// try tries to take the session up.
func (s *Session) try() (*socket.Conn, error) {
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	s.mu.Lock()
	t := &s.tries
	t.number++
	t.failed++
	t.at, t.stop = now(), stop
	again := &socket.TakeUp{Token: s.token, Unit: s.o.Unit, Position: s.in.Position(), Attempt: t.number}
	s.mu.Unlock()
	sock, err := s.o.Dial(ctx, again)
	if err != nil {
		return nil, err
	}
	m, err := first(ctx, sock, s.o.Unit, messages.KindResumed)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stop = nil
	if err != nil {
		return nil, s.refused(sock, err)
	}
	if !s.closing.aborted && s.out.Rewind(m.Position) != nil {
		s.leave(sock, closing{code: messages.CloseProtocolError, reason: "the position is not one of this session"})
		return nil, final{fmt.Errorf("%w: the server is at a position that is not one of it", ErrLost)}
	}
	_ = s.out.Acked(0, s.limited(s.out.Acknowledged(), m.Limit))
	s.attach(sock)
	s.line.next = m.Position
	t.taken = now()
	return sock, nil
}

// refused returns what the end of a WebSocket means that has not taken the session
// up. Under mu.
func (s *Session) refused(sock *socket.Conn, err error) error {
	var closed *socket.CloseError
	if !errors.As(err, &closed) {
		sock.Abandon()
		return err
	}
	s.leave(sock, closing{code: closed.Code})
	if closed.Code == closeGone || closed.Code == closeCannot {
		return final{s.meaning(closed)}
	}
	return err // 4001 too: the number was too low
}

// first reads the first message of a WebSocket, which is of a kind.
func first(ctx context.Context, sock *socket.Conn, unit replay.Unit, kind messages.ResumeKind) (m messages.ResumeMessage, err error) {
	sock.SetReadDeadline(time.Now().Add(answered))
	defer sock.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, sock.Abandon)
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
	}()
	if _, err = sock.Next(); err != nil {
		return m, err
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	n, err := whole(sock, b[:])
	if err != nil {
		return m, err
	}
	if m, err = messages.DecodeResume(b[:n], unit.Name()); err != nil || m.Kind != kind {
		return m, errors.New("the server does not begin as a session does")
	}
	return m, nil
}

// pause waits, unless the machine wakes up or the session is over.
func (s *Session) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.tries.hurry:
	case <-s.ctx.Done():
	}
}

// hurry has the session be taken up now: the machine has woken up. Under mu.
func (s *Session) hurry() {
	t := &s.tries
	t.failed = 0
	select {
	case t.hurry <- struct{}{}:
	default:
	}
	if t.stop != nil && elapsed(t.at, now()) > young {
		t.stop()
	}
}

// backOff returns how long to wait before a try, when so many have failed: by
// chance up to a half less, so that not all clients of a server come back at once.
func backOff(failed int) time.Duration {
	longest := longestPause
	if failed < 10 {
		longest = min(firstPause<<failed, longestPause)
	}
	return longest - rand.N(longest/2)
}

var restart = regexp.MustCompile(`^restart, retry within (\d{1,4}) s$`)

// spread returns how long to wait before the first try: a server that restarts
// says over how long it wants its clients to come back.
func spread(lost error) time.Duration {
	var closed *socket.CloseError
	if !errors.As(lost, &closed) || closed.Code != messages.CloseGoingAway {
		return 0
	}
	m := restart.FindStringSubmatch(closed.Reason)
	if m == nil {
		return 0
	}
	seconds, _ := strconv.Atoi(m[1])
	return rand.N(time.Duration(max(seconds, 1)) * time.Second)
}
