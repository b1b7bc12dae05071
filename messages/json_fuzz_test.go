package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracleControl reads a control message with encoding/json, member by member.
// The differences that it makes up for are meant: names are compared with
// their case, null is as if it were not there, a wrong type matters only where
// the message's type has such a field, and of bytes that are not UTF-8 see
// validUTF8.
func oracleControl(in []byte) (any, error) {
	in = []byte(validUTF8(string(in)))
	if !json.Valid(in) {
		return nil, errors.New("not JSON")
	}
	var m control
	wrong := map[string]bool{}
	err := members(in, func(name string, value json.RawMessage) error {
		if string(value) == "null" {
			return nil
		}
		var err error
		switch name {
		case "type":
			return json.Unmarshal(value, &m.kind)
		case "id":
			err = json.Unmarshal(value, &m.ID)
		case "connId":
			err = json.Unmarshal(value, &m.connID)
		case "reason":
			err = json.Unmarshal(value, &m.reason)
		case "status":
			err = json.Unmarshal(value, &m.Status)
		case "bytes":
			err = json.Unmarshal(value, &m.bytes)
		case "bodyEncoding":
			err = json.Unmarshal(value, &m.BodyEncoding)
		case "body":
			var s string
			err = json.Unmarshal(value, &s)
			m.Body = []byte(s)
		case "headers":
			m.Headers = nil
			err = members(value, func(name string, value json.RawMessage) error {
				m.Headers = append(m.Headers, oracleHeader(name, value)...)
				return nil
			})
		}
		wrong[name] = wrong[name] || err != nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	var has []string
	switch m.kind {
	case "http_response":
		has = []string{"id", "status", "headers", "body", "bodyEncoding"}
	case "tcp_close":
		has = []string{"connId", "reason"}
	case "tcp_credit":
		has = []string{"connId", "bytes"}
	}
	for _, name := range has {
		if wrong[name] {
			return nil, errors.New(name + " has the wrong type")
		}
	}
	switch m.kind {
	case "http_response":
		return &m.Response, nil
	case "tcp_close":
		return &Close{m.connID, m.reason}, nil
	case "tcp_credit":
		if m.bytes <= 0 {
			return nil, errors.New("no credit")
		}
		return &Credit{m.connID, m.bytes}, nil
	}
	return nil, nil
}

// oracleHeader returns the fields of a header: none if it is neither a string
// nor an array of strings.
func oracleHeader(name string, value json.RawMessage) (fields []Field) {
	values := []*string{new(string)}
	var err error
	if value[0] == '[' {
		err = json.Unmarshal(value, &values)
	} else {
		err = json.Unmarshal(value, values[0])
	}
	if err != nil || string(value) == "null" {
		return nil
	}
	for _, v := range values {
		if v == nil {
			return nil // null in an array
		}
		fields = append(fields, Field{name, *v})
	}
	return fields
}

// members calls do for each member of an object.
func members(in []byte, do func(name string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(in))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New("not an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := do(name.(string), value); err != nil {
			return err
		}
	}
	return nil
}

func FuzzControl(f *testing.F) {
	for _, in := range slices.Concat(brokenMessages, wrongTypes, ignoredTypes) {
		f.Add([]byte(in))
	}
	f.Add([]byte(`{"type":"http_response","id":"0123456789ab","status":200,"headers":{"A":"1","B":["2","\u20ac"]},"body":"\ud83d\ude00","bodyEncoding":""}`))
	f.Add([]byte(`{"type":"tcp_close","connId":"c","x":[[[1,2.5e-3,{"a":null}],true],false]}`))
	f.Add([]byte(`{"type":"tcp_credit","connId":"c","bytes":262144}`))
	f.Add([]byte(`{"type":"tcp_close","connId":"c","reason":"e\u006ff"}`))
	f.Add([]byte(`{"reason":7,"type":"tcp_close","connId":"c","reason":"eof"}`))
	f.Add([]byte(`{"type":"tcp_close","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `,"connId":"c"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > 10_000 {
			return // encoding/json may find it too deep
		}
		want, wantErr := oracleControl(in)
		// What stands behind the message must matter as little as it changes.
		for _, behind := range []string{"", `"}`, `\u0041"}`, "0,null]]}}", strings.Repeat(" ", 20)} {
			room := append(bytes.Clone(in), behind...)
			got, err := DecodeControl(room[:len(in)])
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("%q: %+v, %v; encoding/json: %+v, %v", in, got, err, want, wantErr)
			}
			if err == nil && !sameControl(got, want) {
				t.Fatalf("%q is read as %+v; by encoding/json as %+v", in, got, want)
			}
			if string(room[len(in):]) != behind {
				t.Fatalf("%q: what stands behind it was overwritten", in)
			}
		}
	})
}

func sameControl(got, want any) bool {
	g, ok := got.(*Response)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	w, ok := want.(*Response)
	if !ok || len(g.Headers) > len(w.Headers) {
		return false
	}
	headers := w.Headers
	if len(g.Headers) == maxFields { // those beyond are dropped
		headers = headers[:maxFields]
	}
	for i := range headers {
		if len(g.Headers) != len(headers) || g.Headers[i] != headers[i] {
			return false
		}
	}
	return g.ID == w.ID && g.Status == w.Status && string(g.Body) == string(w.Body) && g.BodyEncoding == w.BodyEncoding
}

// encoded is http_request as a client's JSON library reads it.
type encoded struct {
	Type, ID, Method, Path, Body string
	BodyEncoding                 *string
	Headers                      map[string]string
}

func checkEncoding(t testing.TB, r Request) {
	t.Helper()
	out := EncodeRequest(r)
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	var got encoded
	if err := d.Decode(&got); err != nil || d.More() {
		t.Fatalf("%q: not what encoding/json reads: %v", out, err)
	}
	if !utf8.Valid(out) {
		t.Fatalf("%q is no text message: not UTF-8", out)
	}
	want := map[string]string{}
	for _, f := range r.Headers {
		want[validUTF8(f.Name)] = validUTF8(f.Value)
	}
	if got.Type != "http_request" || got.ID != validUTF8(r.ID) || got.Method != validUTF8(r.Method) || got.Path != validUTF8(r.Path) ||
		got.Headers == nil || !reflect.DeepEqual(got.Headers, want) {
		t.Fatalf("%q is read back as %+v", out, got)
	}
	body := []byte(got.Body)
	if utf8.Valid(r.Body) != (got.BodyEncoding == nil) {
		t.Fatalf("%q: bodyEncoding is %v", out, got.BodyEncoding)
	}
	if got.BodyEncoding != nil {
		var err error
		if body, err = base64.StdEncoding.DecodeString(got.Body); err != nil || *got.BodyEncoding != "base64" {
			t.Fatalf("%q: bodyEncoding %s: %v", out, *got.BodyEncoding, err)
		}
	}
	if !bytes.Equal(body, r.Body) {
		t.Fatalf("the body %q is read back as %q", r.Body, body)
	}
	if m, err := DecodeControl(out); m != nil || err != nil {
		t.Fatalf("%q: read by the proxy itself as %v, %v", out, m, err)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("0123456789ab", "GET", "/a?b=\"\\\x00\x1f\x7f\u2028\u2029", "Name", "value\t\n\r\b\f", []byte("text \u20ac \U0001F600"))
	f.Add("", "", "\xff\xfe", "\xc3", "\xed\xa0\x80", []byte("\xff"))
	f.Add("i", "POST", "/", "A", "", []byte(nil))
	f.Fuzz(func(t *testing.T, id, method, path, name, value string, body []byte) {
		before := bytes.Clone(body)
		checkEncoding(t, Request{ID: id, Method: method, Path: path, Headers: []Field{{name, value}}, Body: body})
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		// And a whole round: what was written is read back the same.
		field := appendString([]byte(`{"type":"http_response","id":`), value)
		field = append(appendString(append(field, `,"body":`...), string(body)), '}')
		m, err := DecodeControl(field)
		if err != nil {
			t.Fatal(err)
		}
		if r := m.(*Response); r.ID != validUTF8(value) || string(r.Body) != validUTF8(string(body)) {
			t.Fatalf("%q, %q are read back as %q, %q", value, body, r.ID, r.Body)
		}
	})
}
