package document

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplaceBetweenMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n<!-- x -->\nold\n<!-- /x -->\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"new", "newer\n\n"} {
		if err := Replace(path, "x", text); err != nil {
			t.Fatal(err)
		}
	}
	if data, _ := os.ReadFile(path); string(data) != "a\n<!-- x -->\nnewer\n<!-- /x -->\nb\n" {
		t.Errorf("the document is %q", data)
	}
	if Replace(path, "y", "") == nil {
		t.Error("a mark that is not there was replaced")
	}
}

func TestMarkdown(t *testing.T) {
	const want = "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
	if got := Markdown([]string{"a", "b"}, [][]string{{"1", "2"}}); got != want {
		t.Errorf("%q", got)
	}
}

// A plot is an SVG whatever is in it, with every point within the picture.
func TestPlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plot.svg")
	if err := WriteSVG(path, []Panel{
		{Title: "a <b>", X: "x", Lines: []Line{{Name: "one", X: []float64{0, 1, 2}, Y: []float64{0, 7, 93}}, {Name: "two", X: []float64{0, 2}, Y: []float64{5, 5}}}},
		{Title: "nothing", Lines: []Line{{}}},
		{Title: "zero", Lines: []Line{{X: []float64{0}, Y: []float64{0}}}},
	}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for decoder := xml.NewDecoder(strings.NewReader(string(data))); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 4 || strings.Contains(string(data), "NaN") {
		t.Errorf("%d lines are drawn:\n%s", lines, data)
	}
	if !strings.Contains(string(data), `points="76.0,196.0 390.0,184.7 704.0,45.3"`) {
		t.Errorf("the points are elsewhere:\n%s", data)
	}
}

func TestSteps(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 1: 0.2, 5: 1, 9: 2, 20_000: 5000, 93: 20, 260: 100} {
		if got := step(most); got < want*0.999 || got > want*1.001 {
			t.Errorf("up to %v the step is %v, want %v", most, got, want)
		}
	}
}
