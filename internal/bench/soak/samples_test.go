package soak

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// samples are n that have grown by so much a sample.
func samples(n int, growth float64) (all []sample) {
	for i := range n {
		v := 100 + growth*float64(i)
		all = append(all, sample{after: time.Duration(i) * time.Second, resident: v, goroutines: 300, descriptors: 200 + float64(i%3)})
	}
	return all
}

func TestWhatGrowsIsFound(t *testing.T) {
	if rows, err := thirds(samples(300, 0)); err != nil || len(rows) != 3 {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := thirds(samples(300, 0.05)); err != nil {
		t.Errorf("5 %% in a third are within the bound: %v", err)
	}
	if _, err := thirds(samples(300, 0.1)); err == nil || !strings.Contains(err.Error(), "resident") {
		t.Errorf("memory that grows by 10 MiB in a third: %v", err)
	}
	if _, err := thirds(samples(2, 0)); err == nil {
		t.Error("two samples were enough")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	o := Options{CSV: filepath.Join(dir, "csv"), Plot: filepath.Join(dir, "svg")}
	if err := writeFiles(o, samples(4, 1)); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(o.CSV)
	if want := "3.0,103.00,300,200\n"; !strings.HasSuffix(string(text), want) {
		t.Errorf("%s does not end with %s", text, want)
	}
	if plot, _ := os.ReadFile(o.Plot); strings.Count(string(plot), "<polyline") != 3 {
		t.Errorf("the plot is %s", plot)
	}
}
