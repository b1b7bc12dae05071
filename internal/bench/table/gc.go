package table

import (
	"bytes"
	"regexp"
	"strconv"
)

// gcLine is what GODEBUG=gctrace=1 writes for each collection. Of its processor time
// "a+b/c/d+e ms cpu" d is of processors that would have idled.
var gcLine = regexp.MustCompile(`^gc \d+ @.*, ([\d.]+)\+([\d.]+)/([\d.]+)/[\d.]+\+([\d.]+) ms cpu`)

// gcSeconds is the processor time of the collections that a log tells of.
func gcSeconds(log []byte) (seconds float64) {
	for line := range bytes.Lines(log) {
		for _, part := range subs(gcLine.FindSubmatch(line)) {
			ms, _ := strconv.ParseFloat(string(part), 64)
			seconds += ms / 1000
		}
	}
	return seconds
}

// subs are the groups of a match.
func subs(match [][]byte) [][]byte {
	if match == nil {
		return nil
	}
	return match[1:]
}
