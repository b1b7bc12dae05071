package messages

import (
	"strings"
	"testing"
)

// Whatever a client sends, decoding it allocates a small multiple of the
// message's own length, however little each thing in it takes there.
func TestDecodingIsBoundedByTheMessage(t *testing.T) {
	const n = 1 << 18
	message := func(fields string) string { return `{"type":"http_response","id":"i",` + fields + `"status":200}` }
	for name, tt := range map[string]struct {
		in          string
		times       float64 // the message's length
		allocations int
	}{
		"tiny headers":       {in: message(`"headers":{` + strings.Repeat(`"ab":"cd",`, n) + `"e":"f"},`), times: 0.1, allocations: 500},
		"a header's values":  {in: message(`"headers":{"ab":[` + strings.Repeat(`"cd",`, n) + `"e"]},`), times: 0.1, allocations: 500},
		"headers that go":    {in: message(`"headers":{` + strings.Repeat(`"ab":["cd",0],`, n) + `"e":"f"},`), times: 4, allocations: 3 * n},
		"headers of no type": {in: message(`"headers":{` + strings.Repeat(`"ab":0,`, n) + `"e":"f"},`), times: 4, allocations: 3 * n},
		"headers, repeated":  {in: message(strings.Repeat(`"headers":{},`, n)), times: 0.1, allocations: 500},
		"ids, repeated":      {in: message(strings.Repeat(`"id":"abcd",`, n)), times: 4, allocations: 3 * n},
		"statuses, repeated": {in: message(strings.Repeat(`"status":99999999999999999999,`, n)), times: 8, allocations: 5 * n},
		"unknown fields":     {in: message(strings.Repeat(`"a":0,`, n)), times: 0.1, allocations: 500},
		"lists in lists":     {in: message(`"a":` + strings.Repeat(`[`, n) + strings.Repeat(`]`, n) + `,`), times: 0.1, allocations: 500},
		"maps in a list":     {in: message(`"a":[` + strings.Repeat(`{"":{}},`, n) + `0],`), times: 0.1, allocations: 500},
		"maps for a body":    {in: message(`"body":` + strings.Repeat(`{"":`, n) + `0` + strings.Repeat(`}`, n) + `,`), times: 0.1, allocations: 500},
		"text that is none":  {in: message(`"body":"` + strings.Repeat("a\xff", n) + `",`), times: 8, allocations: 500},
	} {
		in := []byte(tt.in)
		var err error
		bytes := allocated(func() { _, err = DecodeControl(in) })
		if limit := int64(tt.times*float64(len(in))) + 64<<10; bytes > limit {
			t.Errorf("%s: a message of %d bytes allocates %d (%v)", name, len(in), bytes, err)
		}
		count := testing.AllocsPerRun(1, func() { _, _ = DecodeControl([]byte(tt.in)) })
		if count > float64(tt.allocations) {
			t.Errorf("%s: there are %.0f allocations (%v)", name, count, err)
		}
	}
}

// An answer with too many fields is known as such by those that are kept.
func TestFieldsBeyondTheBoundAreSeen(t *testing.T) {
	m, err := DecodeControl([]byte(`{"type":"http_response","headers":{` + strings.Repeat(`"a":"b",`, 300) + `"c":"d"}}`))
	if err != nil || len(m.(*Response).Headers) != MaxAnswerFields+1 {
		t.Errorf("read as %d fields, %v", len(m.(*Response).Headers), err)
	}
}
