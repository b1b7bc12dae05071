package table

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wsproxy/internal/bench/load"
)

// Every row has a load that there is, a name of its own, and an aim.
func TestRows(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range measurements {
		if _, err := load.Find(m.load); err != nil {
			t.Error(err)
		}
		for _, r := range m.rows {
			if names[r.name] || r.aim <= 0 || r.ratio == (r.scale > 0) || r.ratio && m.absolute {
				t.Errorf("the row %+v is odd", r)
			}
			names[r.name] = true
		}
	}
}

func TestCollectorsShare(t *testing.T) {
	log := strings.Join([]string{
		`{"msg":"listening"}`,
		"gc 1 @0.043s 1%: 0.018+0.59+0.071 ms clock, 0.036+0.10/0.50/0.20+0.14 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P",
		"gc 2 @1.043s 1%: 0.018+0.59+0.071 ms clock, 1+2/3/4+5 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)",
	}, "\n")
	const want = (0.036 + 0.10 + 0.50 + 0.14 + 1 + 2 + 3 + 5) / 1000
	if got := gcSeconds([]byte(log)); math.Abs(got-want) > 1e-9 {
		t.Errorf("the collections took %v s, want %v", got, want)
	}
}

func TestTable(t *testing.T) {
	results := []*result{
		{row: row{name: "a", ratio: true, aim: 0.5}, reference: 2, values: map[string][]float64{nameNow: {0.6, 0.4, 0.5}, nameBefore: {1}}, gc: []float64{0.05}},
		{row: row{name: "b", scale: 1, unit: "B", aim: 11_000}, values: map[string][]float64{nameNow: {12_000}}},
		{row: row{name: "c", ratio: true, aim: 1}, failed: errors.New("x")},
	}
	last := map[string]float64{"a": 9, "b": 14_066}
	_, rows := lay(results, last, Options{GC: true})
	for i, want := range []string{
		"a|2|1.00|0.50|0.40 to 0.60|0.50|yes|5.0 %",
		"b|-|14066 B|12000 B|12000 B to 12000 B|11000 B|no|-",
		"c|-|-|-|-|1.00|FAILED|-",
	} {
		if got := strings.Join(rows[i], "|"); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	// With another binary as before, the figures of last time are not.
	if _, rows := lay(results[1:2], last, Options{Before: "binary"}); rows[0][2] != "-" {
		t.Errorf("before is %s", rows[0][2])
	}
}

// What is written last time is what is read this time, other rows included.
func TestFiguresOfLastTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.json")
	figures, err := readFigures(path)
	if err != nil || len(figures) != 0 {
		t.Fatalf("%v, %v", figures, err)
	}
	figures["other"] = 7
	results := []*result{{row: row{name: "a"}, values: map[string][]float64{nameNow: {1, 3, 2}}}}
	if err := writeFigures(path, figures, results); err != nil {
		t.Fatal(err)
	}
	if figures, err = readFigures(path); err != nil || figures["other"] != 7 || figures["a"] != 2 {
		t.Errorf("%v, %v", figures, err)
	}
}

// The reference is run but where there is nothing to compare with.
func TestSides(t *testing.T) {
	names := func(m measurement, o Options) (names []string) {
		for _, s := range m.sides(o, "") {
			names = append(names, s.name)
		}
		return names
	}
	if got := names(measurement{}, Options{Now: "n", Before: "b"}); !slices.Equal(got, []string{nameReference, nameBefore, nameNow}) {
		t.Error(got)
	}
	if got := names(measurement{absolute: true}, Options{Now: "n"}); !slices.Equal(got, []string{nameNow}) {
		t.Error(got)
	}
}
