package session

import (
	"strings"
	"sync"
	"testing/synctest"

	"wsproxy/transport/wsock/replay"
)

// A source has a stream, or messages.
type source struct {
	r     *rig
	mu    sync.Mutex
	data  []replay.Message
	asked func() // called by Next, once, if not nil
}

// put has the session send bytes, or a message.
func (s *source) put(text string) { s.give(replay.Message{Payload: []byte(text)}) }

func (s *source) give(m replay.Message) {
	s.mu.Lock()
	s.data = append(s.data, m)
	s.mu.Unlock()
	s.r.s.Wake()
}

func (s *source) Next(units int64) (m replay.Message, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked := s.asked; asked != nil {
		s.asked = nil
		asked()
	}
	if len(s.data) == 0 {
		return m, false
	}
	m = s.data[0]
	if s.r.unit == replay.Bytes && int64(len(m.Payload)) > units {
		s.data[0].Payload = m.Payload[units:]
		m.Payload = m.Payload[:units:units]
		return m, true
	}
	s.data = s.data[1:]
	return m, true
}

// A sink keeps what comes.
type sink struct {
	r      *rig
	passes bool // on, at once
	mu     sync.Mutex
	got    strings.Builder
	jsons  []string
	count  int64 // of messages
	ended  int
	done   bool
	err    error
}

func (s *sink) Take(payload []byte, json bool) {
	s.mu.Lock()
	if s.done || s.ended > 0 {
		s.r.t.Error("something comes behind the end")
	}
	s.count++
	if json {
		s.jsons = append(s.jsons, string(payload))
	} else {
		s.got.Write(payload)
	}
	s.mu.Unlock()
	if s.passes {
		units := int64(1)
		if s.r.unit == replay.Bytes {
			units = int64(len(payload))
		}
		s.r.s.Passed(units)
	}
}

func (s *sink) PeerEnded() { s.mu.Lock(); defer s.mu.Unlock(); s.ended++ }

func (s *sink) Ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		s.r.t.Error("Ended is called twice")
	}
	s.done, s.err = true, err
}

func (s *sink) over() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.done }

// wants checks all that has come so far.
func (s *sink) wants(text string) {
	s.r.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.got.String(); got != text {
		s.r.t.Fatalf("%.100q has come, not %.100q", got, text)
	}
}
