package measure

import (
	"cmp"
	"slices"
	"time"
)

// residentEvery is how often memory is read for its peak.
const residentEvery = 20 * time.Millisecond

// A Meter follows processes, and this one, over a stretch of time. What it has seen may
// be read after Finish.
type Meter struct {
	pids          []int
	stop, stopped chan struct{}
	start         time.Time

	Elapsed time.Duration
	// Seconds of processor time: of the processes, and of this one.
	CPU, OwnCPU float64
	// MiB of the processes together.
	Before, Peak, After float64

	machine float64 // seconds of processor time of all processes
}

// StartMeter begins a stretch.
func StartMeter(pids ...int) (*Meter, error) {
	m := &Meter{pids: pids, stop: make(chan struct{}), stopped: make(chan struct{})}
	var err error
	if m.Before, err = m.resident(); err != nil {
		return nil, err
	}
	if m.CPU, err = m.cpu(); err != nil {
		return nil, err
	}
	m.Peak = m.Before
	go m.watch()
	m.OwnCPU, m.machine = ownCPU(), machineCPU()
	m.start = time.Now()
	return m, nil
}

func (m *Meter) resident() (float64, error) {
	var sum int64
	for _, pid := range m.pids {
		n, err := Resident(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return Mebibytes(sum), nil
}

func (m *Meter) cpu() (sum float64, err error) {
	for _, pid := range m.pids {
		seconds, err := CPU(pid)
		if err != nil {
			return 0, err
		}
		sum += seconds
	}
	return sum, nil
}

// watch alone writes Peak until it has stopped.
func (m *Meter) watch() {
	defer close(m.stopped)
	ticker := time.NewTicker(residentEvery)
	defer ticker.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			if now, err := m.resident(); err == nil {
				m.Peak = max(m.Peak, now)
			}
		}
	}
}

// Since returns how long the stretch has lasted.
func (m *Meter) Since() time.Duration { return time.Since(m.start) }

// Finish ends the stretch.
func (m *Meter) Finish() error {
	m.Elapsed = m.Since()
	m.OwnCPU, m.machine = ownCPU()-m.OwnCPU, machineCPU()-m.machine
	close(m.stop)
	<-m.stopped
	cpu, cpuErr := m.cpu()
	after, err := m.resident()
	m.CPU, m.After = cpu-m.CPU, after
	m.Peak = max(m.Peak, after)
	return cmp.Or(cpuErr, err)
}

// AddTo reports the processor time of the processes times scale, in a unit, their
// memory, and the noise: how many processors were busy with neither them nor this
// process.
func (m *Meter) AddTo(r *Report, scale float64, unit string) {
	r.Add("cpu", m.CPU*scale, unit)
	r.Add("bench_cpu", m.OwnCPU*scale, unit)
	r.Add("rss_before", m.Before, "MiB")
	r.Add("rss_peak", m.Peak, "MiB")
	r.Add("rss_after", m.After, "MiB")
	r.Add("others_busy", max(m.machine-m.CPU-m.OwnCPU, 0)/m.Elapsed.Seconds(), "processors")
}

// Mebibytes turns bytes into MiB.
func Mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// Median returns the middle value of values, which must not be empty.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
