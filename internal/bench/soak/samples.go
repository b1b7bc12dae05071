package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"wsproxy/internal/bench/document"
	"wsproxy/internal/bench/measure"
)

// A sample is what the server had at a moment.
type sample struct {
	after       time.Duration
	resident    float64 // MiB
	goroutines  float64
	descriptors float64
}

// quantities are what is sampled, and by how much the mean of the last third of the time
// may be above that of the middle third: a share of it, and a number beside, which is
// what chance does to so many sessions that come and go.
var quantities = []struct {
	name  string
	of    func(sample) float64
	share float64
	more  float64
}{
	{"resident memory, MiB", func(s sample) float64 { return s.resident }, 0.05, 2},
	{"goroutines", func(s sample) float64 { return s.goroutines }, 0.02, 20},
	{"descriptors", func(s sample) float64 { return s.descriptors }, 0.02, 20},
}

// sample takes samples until the end.
func (w *work) sample(pid int, socket string, every time.Duration) (all []sample, err error) {
	client := &http.Client{Timeout: every, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	began := time.Now()
	for time.Now().Before(w.end) {
		if w.Sleep(every) != nil {
			return all, nil // all says why
		}
		s := sample{after: time.Since(began)}
		resident, err := measure.Resident(pid)
		descriptors, fdErr := measure.Descriptors(pid)
		goroutines, metricErr := metric(client, "go_goroutines")
		if err := errors.Join(err, fdErr, metricErr); err != nil {
			return all, err
		}
		s.resident, s.goroutines, s.descriptors = measure.Mebibytes(resident), goroutines, float64(descriptors)
		all = append(all, s)
	}
	return all, nil
}

// metric reads a metric without labels.
func metric(client *http.Client, name string) (float64, error) {
	answer, err := client.Get("http://metrics/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the server has no metric %s", name)
}

// tell writes the results, and judges them.
func tell(o Options, w *work, samples []sample) error {
	if err := writeFiles(o, samples); err != nil {
		return err
	}
	rows, grown := thirds(samples)
	var text bytes.Buffer
	text.WriteString(document.Markdown([]string{"", "middle third", "last third", "may be up to"}, rows))
	fmt.Fprintf(&text, "\nIn %v: %d pings of relays (p99 %s ms), %d take-ups, %d relays opened and closed, %d transfers of together %s GB, "+
		"%d tunnels opened and closed, %d HTTP requests, %d pings over raw connections. None failed.\n",
		o.Duration, w.pings.Count(), measure.Number(float64(w.pings.Quantile(0.99))/1e6), w.resumed.Load(), w.opened.Load(), w.transfers.Load(),
		measure.Number(float64(w.bytes.Load())/1e9), w.tunnelsOpened.Load(), w.requests.Load(), w.rawPings.Load())
	fmt.Fprint(o.Log, text.String())
	if o.Document != "" {
		if err := document.Replace(o.Document, "soak", text.String()); err != nil {
			return err
		}
	}
	if o.Judge {
		return grown
	}
	return nil
}

// thirds compares the last third of the samples with the middle one.
func thirds(samples []sample) (rows [][]string, grown error) {
	third := len(samples) / 3
	if third == 0 {
		return nil, errors.New("there are too few samples to tell whether anything grows")
	}
	for _, q := range quantities {
		middle, last := mean(samples[third:2*third], q.of), mean(samples[2*third:], q.of)
		most := middle*(1+q.share) + q.more
		rows = append(rows, []string{q.name, measure.Number(middle), measure.Number(last), measure.Number(most)})
		if last > most {
			grown = errors.Join(grown, fmt.Errorf("%s grow: %s in the middle third, %s in the last", q.name, measure.Number(middle), measure.Number(last)))
		}
	}
	return rows, grown
}

func mean(samples []sample, of func(sample) float64) (sum float64) {
	for _, s := range samples {
		sum += of(s)
	}
	return sum / float64(len(samples))
}

// writeFiles writes the samples, as they are and as a plot.
func writeFiles(o Options, samples []sample) error {
	var text bytes.Buffer
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"seconds", "resident_mib", "goroutines", "descriptors"})
	var minutes []float64
	panels := make([]document.Panel, len(quantities))
	for _, s := range samples {
		minutes = append(minutes, s.after.Minutes())
		_ = out.Write([]string{fmt.Sprintf("%.1f", s.after.Seconds()), fmt.Sprintf("%.2f", s.resident), fmt.Sprint(s.goroutines), fmt.Sprint(s.descriptors)})
	}
	out.Flush() // to memory, which can't fail
	for i, q := range quantities {
		line := document.Line{X: minutes}
		for _, s := range samples {
			line.Y = append(line.Y, q.of(s))
		}
		panels[i] = document.Panel{Title: q.name, X: "minutes", Lines: []document.Line{line}}
	}
	if o.CSV != "" {
		if err := os.WriteFile(o.CSV, text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if o.Plot != "" {
		return document.WriteSVG(o.Plot, panels)
	}
	return nil
}
