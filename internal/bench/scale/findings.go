package scale

import (
	"fmt"
	"strings"
	"time"

	"wsproxy/internal/bench/document"
	"wsproxy/internal/bench/measure"
)

// findings are what was measured beside memory.
type findings struct {
	calm, among, during time.Duration // p99 of pings: alone, among idle sessions, during the storm
	storm               time.Duration // until all were taken up
}

// tell writes the results, and judges them.
func (f *findings) tell(o Options, steps []step) error {
	header := []string{"relays", "tunnels", "resident", "for each relay so far", "for each of this step"}
	var rows [][]string
	line := document.Line{Name: "relays"}
	first := steps[0]
	for i, s := range steps {
		row := []string{fmt.Sprint(s.relays), fmt.Sprint(s.tunnels), fmt.Sprintf("%.1f MiB", s.resident), "", ""}
		switch {
		case s.tunnels > 0:
			row[4] = fmt.Sprintf("%.1f KiB for each tunnel", 1024*(s.resident-steps[i-1].resident)/float64(s.tunnels))
		case i > 0:
			row[3] = fmt.Sprintf("%.1f KiB", 1024*(s.resident-first.resident)/float64(s.relays))
			row[4] = fmt.Sprintf("%.1f KiB", 1024*(s.resident-steps[i-1].resident)/float64(s.relays-steps[i-1].relays))
		}
		rows = append(rows, row)
		if s.tunnels == 0 {
			line.X, line.Y = append(line.X, float64(s.relays)), append(line.Y, s.resident)
		}
	}
	var text strings.Builder
	text.WriteString(document.Markdown(header, rows))
	fmt.Fprintf(&text, "\nAll %d relays and %d tunnels answered after %v. %d relays pinged %d times a second each: p99 %s ms alone, %s ms among the idle ones. "+
		"All %d relays that outlive their WebSocket lost it at once: all were taken up within %s s, and p99 of the pings meanwhile was %s ms.\n",
		o.Relays, o.Tunnels, o.Alive, o.Pingers, pingRate, milliseconds(f.calm), milliseconds(f.among), o.Storm, measure.Number(f.storm.Seconds()), milliseconds(f.during))
	fmt.Fprint(o.Log, text.String())
	if o.Plot != "" {
		panel := document.Panel{Title: "resident memory, MiB", X: "idle relays", Lines: []document.Line{line}}
		if err := document.WriteSVG(o.Plot, []document.Panel{panel}); err != nil {
			return err
		}
	}
	if o.Document != "" {
		if err := document.Replace(o.Document, "scale", text.String()); err != nil {
			return err
		}
	}
	switch {
	case !o.Judge:
	case f.storm > bound:
		return fmt.Errorf("%d sessions were taken up within %v, which is more than %v", o.Storm, f.storm, bound)
	case f.among > slower*f.calm:
		return fmt.Errorf("p99 of pings among %d relays is %v, more than %d times %v", o.Relays, f.among, slower, f.calm)
	}
	return nil
}

func milliseconds(d time.Duration) string {
	return measure.Number(float64(d) / float64(time.Millisecond))
}
