package page

import (
	"net/http"
	"strconv"
	"strings"
)

// choose returns the form of a file that a client likes best, and of two that it
// likes alike the smaller one (RFC 9110, section 12.5.3). A client that takes
// none of them gets the plain one.
func (f *file) choose(header http.Header) form {
	plain := f.forms[len(f.forms)-1]
	values := header.Values("Accept-Encoding")
	if len(values) == 0 {
		return plain // it would take anything, but programs that say nothing mostly unpack nothing
	}
	accepted := parseAccepted(strings.Join(values, ","))
	best, most := plain, 0.0
	for _, candidate := range f.forms {
		if weight := accepted.weight(candidate.coding); weight > most {
			best, most = candidate, weight
		}
	}
	return best
}

// accepted has the weights that a client gives to codings, by their names in
// lower case.
type accepted map[string]float64

func parseAccepted(list string) accepted {
	a := make(accepted)
	for element := range strings.SplitSeq(list, ",") {
		coding, parameters, _ := strings.Cut(element, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding == "" {
			continue
		}
		if coding == "x-gzip" { // the same (RFC 9110, section 8.4.1.3)
			coding = "gzip"
		}
		a[coding] = quality(parameters)
	}
	return a
}

// quality reads the weight among the parameters of a coding: 1 without one, 0 if
// it can't be read, for then it is not known that the client takes it.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// leastWeight is that of the plain form where the client says nothing of it: it
// will do, but any other that is taken at all is better. Weights have three
// digits.
const leastWeight = 0.0001

func (a accepted) weight(coding string) float64 {
	if coding == "" {
		coding = "identity"
	}
	if weight, said := a[coding]; said {
		return weight
	}
	if weight, said := a["*"]; said {
		return weight
	}
	if coding == "identity" {
		return leastWeight
	}
	return 0
}

// isKnown reports whether If-None-Match names the tag, by the weak comparison:
// front proxies that compress make tags weak.
func isKnown(header http.Header, tag string) bool {
	for element := range strings.SplitSeq(strings.Join(header.Values("If-None-Match"), ","), ",") {
		element = strings.TrimSpace(element)
		if element == "*" || strings.TrimPrefix(element, "W/") == tag {
			return true
		}
	}
	return false
}
