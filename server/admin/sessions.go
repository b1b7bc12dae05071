package admin

import (
	"cmp"
	"net/http"
	"slices"
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

func (h *handler) sessions(w http.ResponseWriter, _ *http.Request) {
	h.list(w, h.o.Relays, h.o.Tunnels)
}

func (h *handler) tunnels(w http.ResponseWriter, _ *http.Request) { h.list(w, h.o.Tunnels) }

// list answers with the sessions of some owners, of which those that are nil have none.
func (h *handler) list(w http.ResponseWriter, owners ...*actor.PID) {
	if !h.enter(w) {
		return
	}
	defer func() { <-h.busy }()
	late := time.NewTimer(answerWait)
	defer late.Stop()
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
		select {
		case all := <-asked:
			answer.LeftOut += all.LeftOut
			answer.Unanswered += gather(&answer.Sessions, all, late)
		case <-late.C:
			h.answer(w, http.StatusServiceUnavailable, outcomeFailed, inspect.Error{Error: "The owners of sessions don't answer in time: the server is too busy. Ask again."})
			return
		}
	}
	answer.Time = time.Now()
	for i := range answer.Sessions {
		s := &answer.Sessions[i]
		s.Age = answer.Time.Sub(s.Since).Round(time.Millisecond).Seconds()
	}
	slices.SortFunc(answer.Sessions, func(a, b inspect.Session) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	h.answer(w, http.StatusOK, outcomeOK, answer)
}

// gather adds the sessions that answer until late, and returns how many don't.
func gather(to *[]inspect.Session, all inspect.Asked, late *time.Timer) (unanswered int) {
	for n := range all.Number {
		select {
		case s := <-all.Sessions:
			if !s.Since.IsZero() {
				*to = append(*to, s)
			}
		case <-late.C:
			late.Reset(0) // for whoever waits next
			return all.Number - n
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
	late := time.NewTimer(answerWait)
	defer late.Stop()
	found := 0
	for _, owner := range owners {
		if owner == nil {
			continue
		}
		answer := make(chan int, 1)
		h.o.Root.Send(owner, &inspect.Close{ID: id, Answer: answer})
		select {
		case n := <-answer:
			found += n
		case <-late.C:
			h.answer(w, http.StatusServiceUnavailable, outcomeFailed, inspect.Error{Error: "The owner of the session does not answer in time: it may be closed or not. Look at /debug/sessions."})
			return
		}
	}
	if found == 0 {
		h.refuse(w, http.StatusNotFound, "There is no session of this id, any more.")
		return
	}
	h.o.Log.Info("closed by the operator", "id", id, "source", source(r))
	h.answer(w, http.StatusOK, outcomeOK, inspect.Closed{ID: id, Closed: found})
}
