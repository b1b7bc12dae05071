package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages/inspect"
)

const (
	// mostSessions bounds how many sessions are asked of each kind. Their answers take some
	// 300 bytes each.
	mostSessions = 20_000
	// answerWait is how long sessions are waited for, all together. Five thousand take some
	// hundredths of a second; one that ends while it is asked never answers.
	answerWait = 700 * time.Millisecond
)

func (h *handler) sessions(w http.ResponseWriter, r *http.Request) {
	h.list(w, r, h.o.Relays, h.o.Tunnels)
}

func (h *handler) tunnels(w http.ResponseWriter, r *http.Request) { h.list(w, r, h.o.Tunnels) }

// list answers with the sessions of some owners, of which those that are nil have none.
func (h *handler) list(w http.ResponseWriter, r *http.Request, owners ...*actor.PID) {
	if !h.enter(w) {
		return
	}
	leave := sync.OnceFunc(func() { <-h.busy })
	defer leave()
	late, cancel := context.WithTimeout(r.Context(), answerWait)
	defer cancel()
	answer := inspect.Answer{Version: h.o.Version, Draining: h.o.Draining(), Sessions: []inspect.Session{}}
	var asking []chan inspect.Asked
	for _, owner := range owners {
		if owner != nil {
			asked := make(chan inspect.Asked, 1)
			h.o.Root.Send(owner, &inspect.List{Most: mostSessions, Answer: asked})
			asking = append(asking, asked)
		}
	}
	for _, asked := range asking {
		all, ok := receive(late, asked)
		if !ok {
			h.answer(w, http.StatusServiceUnavailable, outcomeFailed, inspect.Error{Error: "The owners of sessions don't answer in time: the server is too busy. Ask again."})
			return
		}
		answer.LeftOut += all.LeftOut
		answer.Unanswered += gather(late, &answer.Sessions, all)
	}
	answer.Time = time.Now()
	for i := range answer.Sessions {
		s := &answer.Sessions[i]
		s.Age = answer.Time.Sub(s.Since).Round(time.Millisecond).Seconds()
	}
	slices.SortFunc(answer.Sessions, func(a, b inspect.Session) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	leave() // who reads slowly keeps nobody else from looking
	h.answer(w, http.StatusOK, outcomeOK, answer)
}

// receive returns what comes until late, and whether something does. What is there already
// counts, however late it is.
func receive[T any](late context.Context, from <-chan T) (got T, ok bool) {
	select {
	case got = <-from:
		return got, true
	default:
	}
	select {
	case got = <-from:
		return got, true
	case <-late.Done():
		return got, false
	}
}

// gather adds the sessions that answer until late, and returns how many don't.
func gather(late context.Context, to *[]inspect.Session, all inspect.Asked) (unanswered int) {
	for n := range all.Number {
		s, ok := receive(late, all.Sessions)
		if !ok {
			return all.Number - n
		}
		if !s.Since.IsZero() {
			*to = append(*to, s)
		}
	}
	return 0
}

// enter reports whether one more answer about sessions may be made.
func (h *handler) enter(w http.ResponseWriter) bool {
	select {
	case h.busy <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable, "Others ask about sessions just now: ask again in a second.")
		return false
	}
}

func (h *handler) closeSession(w http.ResponseWriter, r *http.Request) {
	h.close(w, r, h.o.Relays, h.o.Tunnels)
}

func (h *handler) closeTunnel(w http.ResponseWriter, r *http.Request) {
	h.close(w, r, h.o.Tunnels)
}

// close ends the sessions of an id.
func (h *handler) close(w http.ResponseWriter, r *http.Request, owners ...*actor.PID) {
	id := r.PathValue("id")
	if !inspect.IsID(id) {
		h.refuse(w, http.StatusNotFound, "This is no id of a session: it has letters, digits, - and _ alone, as /debug/sessions shows it.")
		return
	}
	if !h.enter(w) {
		return
	}
	defer func() { <-h.busy }()
	late, cancel := context.WithTimeout(r.Context(), answerWait)
	defer cancel()
	found := 0
	for _, owner := range owners {
		if owner == nil {
			continue
		}
		answer := make(chan int, 1)
		h.o.Root.Send(owner, &inspect.Close{ID: id, Answer: answer})
		n, ok := receive(late, answer)
		if !ok {
			h.answer(w, http.StatusServiceUnavailable, outcomeFailed, inspect.Error{Error: "The owner of the session does not answer in time: it may be closed or not. Look at /debug/sessions."})
			return
		}
		found += n
	}
	if found == 0 {
		h.refuse(w, http.StatusNotFound, "There is no session of this id, any more.")
		return
	}
	h.o.Log.Info("closed by the operator", "id", id, "source", source(r))
	h.answer(w, http.StatusOK, outcomeOK, inspect.Closed{ID: id, Closed: found})
}
