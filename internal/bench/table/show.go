package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"wsproxy/internal/bench/document"
	"wsproxy/internal/bench/measure"
)

// Output says what becomes of the results.
type Output struct {
	Table    io.Writer
	File     string // JSON with the figures of the last time: the column before, without Options.Before
	Save     bool   // write File
	Document string // Markdown file whose table is replaced; "" for none
}

// Run measures, and shows the table.
func Run(ctx context.Context, o Options, out Output) error {
	results, err := run(ctx, o)
	if err != nil {
		return err
	}
	last, err := readFigures(out.File)
	if err != nil {
		return err
	}
	header, rows := lay(results, last, o)
	w := tabwriter.NewWriter(out.Table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var failures []error
	for _, r := range results {
		if r.failed != nil {
			failures = append(failures, r.failed)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err // and no file has half of the figures
	}
	if out.Save {
		if err := writeFigures(out.File, last, results); err != nil {
			return err
		}
	}
	if out.Document != "" {
		return document.Replace(out.Document, "bench", document.Markdown(header, rows))
	}
	return nil
}

// lay makes a table of the results.
func lay(results []*result, last map[string]float64, o Options) (header []string, rows [][]string) {
	header = []string{"load", "reference", "before", "now", "lowest to highest", "aim", "met"}
	if o.GC {
		header = append(header, "collector")
	}
	for _, r := range results {
		row := []string{r.name, "-", "-", "-", "-", r.show(r.aim), "-"}
		if r.reference > 0 {
			row[1] = measure.Number(r.reference)
		}
		before, ok := r.median(nameBefore)
		if !ok && o.Before == "" {
			before, ok = last[r.name]
		}
		if ok {
			row[2] = r.show(before)
		}
		now, ok := r.median(nameNow)
		if ok {
			values := r.values[nameNow]
			row[3] = r.show(now)
			row[4] = r.show(slices.Min(values)) + " to " + r.show(slices.Max(values))
			row[6] = map[bool]string{true: "yes", false: "no"}[now <= r.aim]
		}
		if r.failed != nil {
			row[6] = "FAILED"
		}
		if o.GC {
			share := "-"
			if len(r.gc) > 0 {
				share = fmt.Sprintf("%.1f %%", 100*measure.Median(r.gc))
			}
			row = append(row, share)
		}
		rows = append(rows, row)
	}
	return header, rows
}

// show formats a value of a row.
func (r *row) show(v float64) string {
	switch {
	case r.ratio:
		return fmt.Sprintf("%.2f", v)
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, r.unit)
	default:
		return fmt.Sprintf("%.3g %s", v, r.unit)
	}
}

func readFigures(path string) (map[string]float64, error) {
	figures := make(map[string]float64)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return figures, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &figures)
	}
	return figures, err
}

// writeFigures writes the results over those that were there.
func writeFigures(path string, figures map[string]float64, results []*result) error {
	for _, r := range results {
		if now, ok := r.median(nameNow); ok {
			figures[r.name] = now
		}
	}
	data, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
