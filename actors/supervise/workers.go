package supervise

import "github.com/asynkron/protoactor-go/actor"

const (
	// idleWorkers is how many goroutines wait for the next mailbox. More may
	// work.
	idleWorkers = 8
	// mailboxThroughput is after how many messages a mailbox lets others run:
	// the library's own.
	mailboxThroughput = 300
)

// Workers run the mailboxes of those actors that get a message for each
// request or piece of data. The library's dispatcher starts a goroutine each
// time a message comes to an empty mailbox, and each grows its stack anew.
// Workers that are kept have grown theirs: a small request through a tunnel
// takes less processor time, by a tenth on a busy machine and a fiftieth on a
// quiet one.
//
// The zero of *Workers, nil, stands for the library's dispatcher.
type Workers struct {
	work chan func()   // to one that waits
	idle chan struct{} // has an entry for each that waits
	stop chan struct{}
}

// NewWorkers returns workers that wait for work until Close.
func NewWorkers() *Workers {
	return &Workers{make(chan func()), make(chan struct{}, idleWorkers), make(chan struct{})}
}

// Close ends those that wait, and has the others end after their work. What is
// scheduled later is still done.
func (w *Workers) Close() { close(w.stop) }

// Schedule has one of the workers call run. It never waits.
func (w *Workers) Schedule(run func()) {
	select {
	case w.work <- run:
	default:
		go w.serve(run)
	}
}

// Throughput is for the library: see mailboxThroughput.
func (w *Workers) Throughput() int { return mailboxThroughput }

func (w *Workers) serve(run func()) {
	for {
		run()
		select {
		case w.idle <- struct{}{}:
		default:
			return // enough of them wait
		}
		select {
		case run = <-w.work:
			<-w.idle
		case <-w.stop:
			return
		}
	}
}

// option has the workers run an actor.
func (w *Workers) Option() actor.PropsOption {
	if w == nil {
		return actor.WithDispatcher(actor.NewDefaultDispatcher(mailboxThroughput))
	}
	return actor.WithDispatcher(w)
}
