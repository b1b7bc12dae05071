package measure

import (
	"os"
	"testing"
	"time"
)

// A meter sees what its process uses.
func TestMeterSeesWork(t *testing.T) {
	m, err := StartMeter(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	kept := make([]byte, 64<<20)
	for i := range kept {
		kept[i] = byte(i)
	}
	for before, _ := CPU(os.Getpid()); ; { // a tick of the clock that processes are accounted by
		if now, err := CPU(os.Getpid()); err != nil || now > before+0.05 {
			break
		}
	}
	if err := m.Finish(); err != nil {
		t.Fatal(err)
	}
	if m.CPU < 0.04 || m.OwnCPU < 0.03 || m.Elapsed <= 0 {
		t.Errorf("used are %.3f s by the process and %.3f s by this one in %v", m.CPU, m.OwnCPU, m.Elapsed)
	}
	if m.Peak < m.Before+50 || kept[1] != 1 {
		t.Errorf("64 MiB more are %.1f MiB at most, and were %.1f", m.Peak, m.Before)
	}
}

func TestProcessesThatAreNotThere(t *testing.T) {
	if _, err := StartMeter(1 << 30); err == nil {
		t.Error("a process that is not there was measured")
	}
	if n, err := Descriptors(os.Getpid()); err != nil || n < 3 {
		t.Errorf("this process has %d descriptors, %v", n, err)
	}
}

func TestReportInALine(t *testing.T) {
	var h Histogram
	h.Record(2 * time.Millisecond)
	r := &Report{Load: "load"}
	r.Add("server_cpu", 0.5, "s/GB")
	r.AddLatency("direct_", &h, "p50", "p99.9", "max")
	r.Note("%d sessions", 3)
	const want = "load: server cpu 0.500 s/GB, direct p50 2000 µs, direct p99.9 2000 µs, direct max 2000 µs; 3 sessions"
	if r.String() != want {
		t.Errorf("%s\nwant %s", r, want)
	}
	if f, ok := r.Find("server_cpu"); !ok || f.Value != 0.5 {
		t.Errorf("server_cpu is %v, %t", f, ok)
	}
	if _, ok := r.Find("none"); ok {
		t.Error("a figure that was not measured is there")
	}
}
