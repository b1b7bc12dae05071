package measure

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Figure is one measured number.
type Figure struct {
	Key   string
	Value float64
	Unit  string // "" for a ratio or a count
}

// A Report is what one run of a load has measured.
type Report struct {
	Load    string
	Figures []Figure
	Notes   []string
}

// Add adds a figure.
func (r *Report) Add(key string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{key, value, unit})
}

// Note adds a sentence.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// AddLatency adds quantiles of h in µs, by their names: p50, p99, p99.9, max.
func (r *Report) AddLatency(prefix string, h *Histogram, quantiles ...string) {
	for _, name := range quantiles {
		d := h.Longest()
		var percent float64
		if n, _ := fmt.Sscanf(name, "p%g", &percent); n == 1 {
			d = h.Quantile(percent / 100)
		}
		r.Add(prefix+name, float64(d)/float64(time.Microsecond), "µs")
	}
}

// Find returns the figure of a key.
func (r *Report) Find(key string) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Key == key })
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}

// String is the report in one line.
func (r *Report) String() string {
	var b strings.Builder
	b.WriteString(r.Load)
	separator := ": "
	for _, f := range r.Figures {
		b.WriteString(separator + strings.ReplaceAll(f.Key, "_", " ") + " " + Number(f.Value))
		if f.Unit != "" {
			b.WriteString(" " + f.Unit)
		}
		separator = ", "
	}
	for _, n := range r.Notes {
		b.WriteString("; " + n)
	}
	return b.String()
}

// Number formats v with about four significant digits and no exponent.
func Number(v float64) string {
	size := math.Abs(v)
	switch {
	case v == math.Trunc(v) && size < 1e15, size >= 1000:
		return fmt.Sprintf("%.0f", v)
	case size >= 100:
		return fmt.Sprintf("%.1f", v)
	case size >= 10:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
