package service

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"wsproxy/messages"
)

const (
	// keptIdle is for how long a connection waits for its next request: fixed by the
	// protocol, section 10.
	keptIdle = 60 * time.Second
	// keptMargin is how much sooner one is closed than its service says that it will:
	// a request that is on its way then would be lost. Fixed by the protocol.
	keptMargin = time.Second
	// maxKept is how many connections of a tunnel wait for a request at most. Browsers
	// open six to a host; a service may count what it holds.
	maxKept = 32
)

// A Pool is a tunnel's connections to its service. Those that wait for their next
// request are kept. Any goroutine may use it.
type Pool struct {
	settings Settings
	shares   shares

	mu   sync.Mutex
	used int      // under mu: leases that are in use
	kept []*Lease // under mu: idle ones, the one that has waited least last
}

// Settings are those of a [Pool]. Open is required.
type Settings struct {
	// Open opens a connection for a request from peer.
	Open func(peer string) (Conn, error)
	// Max is how many connections there may be; 0 = as many as requests.
	Max int
	// Idle is for how long one is kept at most; 0 = as the protocol says.
	Idle time.Duration
	// Tried says that a connection that was kept is tried before a request is sent
	// over it: so any request may go over such a one.
	Tried bool
}

// NewPool returns a pool. It opens nothing.
func NewPool(s Settings) *Pool {
	if s.Idle == 0 {
		s.Idle = keptIdle
	}
	return &Pool{settings: s, shares: newShares(s.Max)}
}

// A Lease is a connection that is in use by one request, or is kept for the next.
type Lease struct {
	Conn
	pool  *Pool
	since time.Time   // when it was kept last; zero if it never was
	late  *time.Timer // while it is kept: its end
}

// Served reports whether the connection has served another request before this one.
func (l *Lease) Served() bool { return !l.since.IsZero() }

// Tried reports whether connections that were kept are tried before they are used.
func (p *Pool) Tried() bool { return p.settings.Tried }

// Open opens a connection for a request from peer. If there are too many then, one that is
// kept is closed.
func (p *Pool) Open(peer string) (*Lease, error) {
	conn, err := p.settings.Open(peer)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.used++
	var longest *Lease
	if p.settings.Max > 0 && p.used+len(p.kept) > p.settings.Max && len(p.kept) > 0 {
		longest = p.kept[0]
	}
	p.mu.Unlock()
	if longest != nil {
		p.drop(longest)
	}
	return &Lease{Conn: conn, pool: p}, nil
}

// Take returns a connection that waited for a request, or nil.
func (p *Pool) Take() *Lease {
	for {
		p.mu.Lock()
		if len(p.kept) == 0 {
			p.mu.Unlock()
			return nil
		}
		l := p.kept[len(p.kept)-1]
		p.kept = slices.Delete(p.kept, len(p.kept)-1, len(p.kept))
		used := l.Use()
		if used {
			p.used++
		}
		p.mu.Unlock()
		l.late.Stop()
		if used {
			return l
		}
		l.Close(messages.CloseEOF)
	}
}

// Begin is that of the connection.
func (l *Lease) Begin(once bool) (whole bool) {
	idle := time.Duration(0)
	if l.Served() {
		idle = max(time.Since(l.since), 1)
	}
	return l.Conn.Begin(idle, once)
}

// End ends the use. With a life the connection is kept for so long, unless it has ended;
// else it is closed, for a reason.
func (l *Lease) End(outcome Outcome, life time.Duration, reason messages.CloseReason) {
	l.Conn.End(outcome)
	l.Left()
	if life > 0 {
		l.pool.keep(l, life)
	} else {
		l.Close(reason)
	}
}

// Left says that the connection has become something else: no request uses it.
func (l *Lease) Left() {
	l.pool.mu.Lock()
	l.pool.used--
	l.pool.mu.Unlock()
}

// keep keeps a connection for so long.
func (p *Pool) keep(l *Lease, life time.Duration) {
	drop := func() { p.drop(l) }
	p.mu.Lock()
	l.since = time.Now()
	kept := l.Idle(drop) // which waits until it is there to be dropped
	var longest *Lease
	if kept {
		if l.late == nil {
			l.late = time.AfterFunc(life, drop)
		} else {
			l.late.Reset(life)
		}
		if p.kept = append(p.kept, l); len(p.kept) > maxKept {
			longest = p.kept[0]
		}
	}
	p.mu.Unlock()
	if !kept {
		l.Close(messages.CloseEOF)
	}
	if longest != nil {
		p.drop(longest)
	}
}

// drop closes a connection if it is kept.
func (p *Pool) drop(l *Lease) {
	p.mu.Lock()
	i := slices.Index(p.kept, l)
	if i >= 0 {
		p.kept = slices.Delete(p.kept, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		l.late.Stop()
		l.Close(messages.CloseEOF)
	}
}

// KeepFor returns for how long a connection may wait for its next request, by what
// the header of the service's answer says; 0 if not at all.
func (p *Pool) KeepFor(header []messages.Field) time.Duration {
	life := p.settings.Idle
	for _, f := range header {
		if f.Name != "Keep-Alive" {
			continue
		}
		for parameter := range strings.SplitSeq(f.Value, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if seconds, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 31); err == nil && strings.EqualFold(name, "timeout") {
				life = min(life, max(time.Duration(seconds)*time.Second-keptMargin, 0))
			}
		}
	}
	return life
}
