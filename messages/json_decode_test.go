package messages

import (
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// What a client may send, and what comes of it.
func TestControlMessagesAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want any
	}{
		"close":                     {`{"type":"tcp_close","connId":"0123456789ab"}`, &Close{ConnID: "0123456789ab"}},
		"close with a reason":       {`{"reason":"eof","type":"tcp_close","connId":"c"}`, &Close{"c", "eof"}},
		"close with any reason":     {`{"type":"tcp_close","connId":"c","reason":"no such \u20ac"}`, &Close{"c", "no such \u20ac"}},
		"close with a null reason":  {`{"type":"tcp_close","connId":"c","reason":null}`, &Close{ConnID: "c"}},
		"credit":                    {`{"type":"tcp_credit","connId":"c","bytes":65536}`, &Credit{"c", 65536}},
		"type at the end":           {`{"connId":"c","type":"tcp_close"}`, &Close{ConnID: "c"}},
		"space everywhere":          {" \t\r\n{ \"type\" : \"tcp_close\" , \"connId\"\n:\r\"c\" } \n", &Close{ConnID: "c"}},
		"unknown type":              {`{"type":"tcp_dance","connId":"c"}`, nil},
		"no type":                   {`{}`, nil},
		"unknown fields":            {`{"a":[1,-0.5e+7,{"b":null}],"type":"tcp_close","connId":"c","z":true,"":false}`, &Close{ConnID: "c"}},
		"null is as if absent":      {`{"type":"tcp_close","connId":null,"bytes":null,"headers":null}`, &Close{}},
		"null leaves what was said": {`{"type":"tcp_close","connId":"c","connId":null}`, &Close{ConnID: "c"}},
		"the last of a name counts": {`{"type":"tcp_open","type":"tcp_close","connId":"a","connId":"c"}`, &Close{ConnID: "c"}},
		"names in other case":       {`{"type":"tcp_close","ConnId":"x","CONNID":7,"connId":"c"}`, &Close{ConnID: "c"}},
		"a name in escapes":         {`{"\u0074ype":"tcp_close","conn\u0049d":"c"}`, &Close{ConnID: "c"}},
		"response": {
			`{"type":"http_response","id":"i","status":204,"body":"b","bodyEncoding":"base64","headers":{"A":"1","B":["2","3"],"C":null,"D":[]}}`,
			&Response{ID: "i", Status: 204, Body: []byte("b"), BodyEncoding: "base64", Headers: []Field{{"A", "1"}, {"B", "2"}, {"B", "3"}}},
		},
		"fields of other types": {`{"bytes":"x","type":"http_response","id":"i","connId":[1,{"a":"\"]"}],"status":200}`, &Response{ID: "i", Status: 200}},
		"headers that are none": {
			`{"type":"http_response","headers":{"A":5,"B":"b","C":["c",{}],"B":["d",null],"E":["e","f"],"G":false}}`,
			&Response{Headers: []Field{{"B", "b"}, {"E", "e"}, {"E", "f"}}},
		},
		"a header named twice":  {`{"type":"http_response","headers":{"A":"1","A":"2"}}`, &Response{Headers: []Field{{"A", "1"}, {"A", "2"}}}},
		"headers twice":         {`{"type":"http_response","headers":{"A":"1"},"headers":{"B":"2"}}`, &Response{Headers: []Field{{"B", "2"}}}},
		"a negative status":     {`{"type":"http_response","status":-1}`, &Response{Status: -1}},
		"the largest number":    {`{"type":"http_response","status":9223372036854775807}`, &Response{Status: 1<<63 - 1}},
		"minus zero":            {`{"type":"http_response","status":-0}`, &Response{}},
		"text before an escape": {`{"type":"http_response","body":"0123456789abcdef\n"}`, &Response{Body: []byte("0123456789abcdef\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeControl([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if r, ok := got.(*Response); ok && len(r.Headers) == 0 {
				r.Headers = nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("read as %+v, want %+v", got, c.want)
			}
		})
	}
}

// Every escape and every byte that needs one, against encoding/json.
func TestStringsAreReadLikeEncodingJSON(t *testing.T) {
	for _, text := range []string{
		``, `a`, `\"\\\/\b\f\n\r\t`, `\u0000\u001f\u007f`, `\u00e9\u20AC\u2028`, "\u2028\u2029\u00e9\U0001F600\x7f",
		`\ud83d\ude00`, `\uD83D\uDE00x`, // a pair
		`\ud83d`, `\ude00`, `\ud83dx`, `\ud83d\n`, `\ude00\ud83d`, `\ud83d\ud83d\ude00`, `\ud83d\u0041`, // halves
		`\ud83d\u`[:6] + `\\u`, strings.Repeat(`\u20ac`, 1000), strings.Repeat("12345678", 9) + `\u0031`,
		"12345\\n7", "1234567\\n", "12345678\\n", "123456789\\n", "\x80", "a\xffb", "\xe2\x82", "\xed\xa0\x80", "\xff\\n\xff",
		"\xc3\\u00a9", "\\u00e9\xa9", "ab\xf0\x9f\x98\\ude00",
	} {
		var want struct{ Body string }
		if err := json.Unmarshal([]byte(`{"body":"`+validUTF8(text)+`"}`), &want); err != nil {
			t.Fatalf("%q: encoding/json: %v", text, err)
		}
		got, err := DecodeControl([]byte(`{"type":"http_response","body":"` + text + `"}`))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if r := got.(*Response); string(r.Body) != want.Body {
			t.Errorf("%q is read as %q, want %q", text, r.Body, want.Body)
		}
	}
}

// validUTF8 says what becomes of bytes that are not UTF-8: one replacement
// character for each run of them. (encoding/json has one for each byte, which
// would make a text three times as long.)
func validUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// brokenMessages are no control messages, whatever the type.
var brokenMessages = []string{
	``, ` `, `{`, `}`, `null`, `true`, `"a"`, `7`, `[]`, `[{}]`, `{}{}`, `{} x`, "{}\x00", "\ufeff{}", `{,}`, `{"a"}`, `{"a":}`,
	`{"a":1,}`, `{"a":1 "b":2}`, `{"a":1;"b":2}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{"a":1`, `{"a":"`, `{"a":"\`, `{"a":"b}`,
	`{"a":tru}`, `{"a":truefalse}`, `{"a":nul}`, `{"a":nullx}`, `{"a":True}`, `{"a":NaN}`, `{"a":undefined}`,
	`{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1.e5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":-}`, `{"a":--1}`, `{"a":0x1}`, `{"a":1_0}`,
	`{"a":[}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{]}`, `{"a":"\x"}`, `{"a":"\u"}`, `{"a":"\u12"}`,
	`{"a":"\u12g4"}`, `{"a":"\U0041"}`, `{"a":"\ud83d\u12"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\x1f\":1}", `{"a":"\u00`, `{"a":"\ud83d\u`,
	`{"type":7}`, `{"type":"tcp_close","type":["tcp_close"]}`,
	`{"headers":{"a":["b",]}}`, `{"type":"http_response","headers":{"a":[1,]}}`, `{"type":"http_response","headers":{"a":tru}}`,
	`{"type":"tcp_close","status":"\x"}`, `{"type":"tcp_close","headers":[{]}`, `{"type":"tcp_close","bytes":1.}`,
	`{"type":"tcp_credit","connId":"c"}`, `{"type":"tcp_credit","connId":"c","bytes":0}`, `{"type":"tcp_credit","connId":"c","bytes":-1}`,
}

// wrongTypes have a field of their own of the wrong type.
var wrongTypes = []string{
	`{"type":"tcp_close","connId":{}}`, `{"connId":5,"type":"tcp_close"}`, `{"type":"tcp_close","connId":5,"connId":"c"}`,
	`{"type":"http_response","id":7}`, `{"type":"http_response","status":"200"}`, `{"type":"http_response","status":1.0}`,
	`{"type":"http_response","status":1e2}`, `{"type":"http_response","status":9223372036854775808}`, `{"status":true,"type":"http_response"}`,
	`{"type":"http_response","body":{}}`, `{"type":"http_response","bodyEncoding":false}`, `{"type":"http_response","headers":[]}`,
	`{"headers":"a","type":"http_response"}`, `{"type":"tcp_credit","connId":"c","bytes":[]}`, `{"type":"tcp_credit","connId":"c","bytes":"7"}`,
	`{"type":"tcp_credit","connId":[],"bytes":7}`,
	`{"type":"tcp_close","connId":"c","reason":7}`, `{"reason":["eof"],"type":"tcp_close","connId":"c"}`, `{"type":"tcp_close","connId":"c","reason":true,"reason":"eof"}`,
}

// ignoredTypes have fields of others that are not of the type that these have.
var ignoredTypes = []string{
	`{"type":"future","id":5}`, `{"type":"future","headers":[["\u0041"]],"status":{"a":[1.5,"b",null,{}]},"connId":true,"bytes":9e9}`,
	`{"id":7}`, `{"status":1.0}`, `{"bytes":[]}`, `{"body":{}}`, `{"headers":{"a":1}}`,
	`{"type":"tcp_close","connId":"c","status":"gone","headers":"a","bytes":1.5,"body":[],"id":{"type":"x"},"bodyEncoding":3}`,
	`{"type":"tcp_credit","connId":"c","bytes":7,"status":-1.5e9,"id":[[]],"reason":{}}`,
	`{"type":"http_response","id":"i","status":200,"bytes":"x","connId":5,"reason":5,"body":"b"}`,
	`{"status":"gone","type":"tcp_close","connId":"c"}`,
	`{"type":"http_response","headers":{"A":1,"B":"b","C":["c",1],"D":["d",null],"E":[["e"]],"F":{},"B":true,"G":["g"]}}`,
}

func TestWrongTypesAreErrorsWhereTheyMatter(t *testing.T) {
	for _, in := range wrongTypes {
		if m, err := DecodeControl([]byte(in)); err != errWrongType || m != nil {
			t.Errorf("%q is read as %+v, %v", in, m, err)
		}
	}
	for i, in := range ignoredTypes {
		m, err := DecodeControl([]byte(in))
		if known := i >= 7; err != nil || (m != nil) != known {
			t.Errorf("%q is read as %+v, %v", in, m, err)
		}
	}
}

func TestBrokenControlMessagesAreErrors(t *testing.T) {
	for _, in := range brokenMessages {
		if m, err := DecodeControl([]byte(in)); err == nil || m != nil {
			t.Errorf("%q is read as %+v, %v", in, m, err)
		}
	}
}

// Bytes are looked at eight at a time: wherever a control character, a quote or
// a backslash stands, it is seen.
func TestSpecialBytesAreSeenAnywhere(t *testing.T) {
	for at := range 40 {
		for _, c := range []byte{0, 1, '\n', 0x1f} {
			text := []byte(strings.Repeat("\x7f\u00e9 ", 10))
			text[at] = c
			if m, err := DecodeControl([]byte(`{"type":"tcp_close","connId":"` + string(text) + `"}`)); err == nil {
				t.Errorf("a byte %#x at %d is read as %+v", c, at, m)
			}
		}
		want := strings.Repeat("!~", at) + "\"\\\n" + strings.Repeat("[]#", at)
		if m, err := DecodeControl(append(appendString([]byte(`{"type":"tcp_close","connId":`), want), '}')); err != nil || m.(*Close).ConnID != want {
			t.Errorf("%q is read as %+v, %v", want, m, err)
		}
	}
}

// An error goes to a log: nothing that the client wrote may be in it.
func TestErrorsHoldNothingOfTheMessage(t *testing.T) {
	for _, in := range brokenMessages {
		_, err := DecodeControl([]byte(strings.ReplaceAll(in, "a", "secret")))
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// What is skipped may be nested however deep: a million levels take neither the
// stack nor much time.
func TestNestingHasNoBound(t *testing.T) {
	for _, c := range []struct{ open, end string }{{"[", "]"}, {`{"a":`, "}"}, {`[{"a":[0,`, `],"b":{}},[]]`}} {
		for _, n := range []int{1, 65, 20_000, 300_000} {
			deep := strings.Repeat(c.open, n) + "1" + strings.Repeat(c.end, n)
			in := `{"type":"tcp_close","x":` + deep + `,"connId":"c"}`
			if n := allocated(func() {
				if m, err := DecodeControl([]byte(in)); err != nil || m == nil || m.(*Close).ConnID != "c" {
					t.Errorf("%d times %s: %+v, %v", n, c.open, m, err)
				}
			}); n > int64(2*len(in)+1<<16) {
				t.Errorf("%d bytes allocate %d", len(in), n)
			}
			for name, broken := range map[string]string{
				"no end": in[:len(in)-len(`,"connId":"c"}`)-1], "one end too many": strings.Replace(in, c.end, c.end+c.end, 1),
				"the wrong end": strings.Replace(in, "1"+c.end, "1)"+c.end, 1),
			} {
				if m, err := DecodeControl([]byte(broken)); err != errJSON {
					t.Errorf("%d times %s, %s: %+v, %v", n, c.open, name, m, err)
				}
			}
		}
	}
}

// Bodies as long as they may be come through whole, whatever they consist of.
func TestLongBodiesAreReadWhole(t *testing.T) {
	const long, shorter = 10 << 20, 256 << 10 // the race detector makes each byte dear
	for name, body := range map[string]string{
		"lines":        strings.Repeat("0123456789012345678901234567890123456789012345678901234567890\r\n", long/63),
		"plain":        strings.Repeat("x", shorter),
		"quotes":       strings.Repeat(`"`, shorter),
		"other script": strings.Repeat("\u20ac", shorter/3),
		"pairs":        strings.Repeat("\U0001F600", shorter/4),
		"controls":     strings.Repeat("\x01", shorter),
	} {
		quoted := appendString(nil, body) // encoding/json's word on it: FuzzEncode
		in := append(append([]byte(`{"type":"http_response","id":"i","status":200,"body":`), quoted...), '}')
		m, err := DecodeControl(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r := m.(*Response); string(r.Body) != body || r.ID != "i" || r.Status != 200 {
			t.Errorf("%s: the body has %d bytes and is another", name, len(r.Body))
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// A body is not copied: the message's bytes become it.
func TestBodyIsPartOfTheMessage(t *testing.T) {
	in := []byte(`{"type":"http_response","body":"` + strings.Repeat("x\\n", 1<<20) + `"}`)
	n := allocated(func() {
		if _, err := DecodeControl(in); err != nil {
			t.Error(err)
		}
	})
	if n > int64(len(in))/10 {
		t.Errorf("a message of %d bytes allocates %d", len(in), n)
	}
}

// A client can't make a small message into a large thing in memory: header
// fields have a bound.
func TestManyHeaderFieldsCostLittle(t *testing.T) {
	in := []byte(`{"type":"http_response","headers":{"A":["` + strings.Repeat(`","`, 1<<20/3) + `"]}}`)
	n := allocated(func() {
		m, err := DecodeControl(in)
		if err != nil {
			t.Error(err)
		} else if got := len(m.(*Response).Headers); got != maxFields {
			t.Errorf("%d fields are kept", got)
		}
	})
	if n > int64(len(in)) {
		t.Errorf("a message of %d bytes allocates %d", len(in), n)
	}
}

func TestPeekControl(t *testing.T) {
	for in, want := range map[string]struct {
		id    string
		whole bool
	}{
		`{"type":"http_response","id":"a","status":200}`: {"a", true},
		`{"id":"a","connId":"b","type":"tcp_close"}`:     {"b", true},
		`{"type":"tcp_credit","connId":"b","bytes":1}`:   {"b", true},
		` {"type":"tcp_close","connId":"b"} `:            {"b", true},
		`{"type":"http_response","id":"a","body":"cut`:   {"a", false},
		`{"type":"http_response","id":"a"`:               {"a", false},
		`{"type":"tcp_close","connId":"b"}x`:             {"b", false},
		`{"type":"http_response","body":"cut`:            {"", false},
		`{"type":"http_request","id":"a"}`:               {"", true},
		`{"id":"a"}`:                                     {"", true},
		`{`:                                              {"", false},
		``:                                               {"", false},
		`[]`:                                             {"", false},
	} {
		b := []byte(in)
		if id, whole := PeekControl(b); id != want.id || whole != want.whole {
			t.Errorf("%s: %q, %v", in, id, whole)
		}
		if string(b) != in {
			t.Errorf("%s was changed to %s", in, b)
		}
	}
}
