package messages

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestResumeMessagesAsTheyTravel(t *testing.T) {
	for _, test := range []struct {
		got  []byte
		want string
	}{
		{AppendSession(nil, "ab.c-_", 900, 65536), `{"type":"session","resume":"ab.c-_","timeout":900,"limit":65536}`},
		{AppendResumed([]byte("x"), UnitBytes, 0, MaxPosition), `x{"type":"resumed","bytes":0,"limit":9007199254740991}`},
		{AppendResumed(nil, UnitMessages, 7, 64), `{"type":"resumed","messages":7,"limit":64}`},
		{AppendAck(nil, UnitBytes, 12, 34), `{"type":"ack","bytes":12,"limit":34}`},
		{AppendAck([]byte("x"), UnitMessages, MaxPosition, 0), `x{"type":"ack","messages":9007199254740991,"limit":0}`},
	} {
		if string(test.got) != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
	}
}

// resumeTexts are messages and what they are read as, in bytes.
var resumeTexts = []struct {
	in   string
	want ResumeMessage
	err  error
}{
	{`{"type":"ack","bytes":12,"limit":34}`, ResumeMessage{Kind: KindAck, Position: 12, Limit: 34}, nil},
	{`{"type":"ack","bytes":0,"limit":0}`, ResumeMessage{Kind: KindAck}, nil},
	{`{"type":"ack","bytes":9007199254740991,"limit":9007199254740991}`, ResumeMessage{Kind: KindAck, Position: MaxPosition, Limit: MaxPosition}, nil},
	{" {\t\"limit\" : 34 ,\r\n\"bytes\":12, \"x\":[{\"bytes\":5},\"\\u20ac\"], \"type\":\"ack\" } ", ResumeMessage{Kind: KindAck, Position: 12, Limit: 34}, nil},
	{`{"type":"ack","bytes":1,"limit":2,"bytes":3}`, ResumeMessage{Kind: KindAck, Position: 3, Limit: 2}, nil},
	{`{"type":"ack","bytes":1,"messages":"x","limit":2}`, ResumeMessage{Kind: KindAck, Position: 1, Limit: 2}, nil},
	{`{"type":"resumed","bytes":1,"limit":2}`, ResumeMessage{Kind: KindResumed, Position: 1, Limit: 2}, nil},
	{`{"type":"session","resume":"ab.c-_Z9","timeout":900,"limit":65536}`, ResumeMessage{Kind: KindSession, Token: "ab.c-_Z9", Timeout: 900, Limit: 65536}, nil},
	{PingText, ResumeMessage{Kind: KindPing}, nil},
	{PongText, ResumeMessage{Kind: KindPong}, nil},
	{EOFText, ResumeMessage{Kind: KindEOF}, nil},
	{`{"type":"ping","bytes":-1}`, ResumeMessage{Kind: KindPing}, nil},

	{`{}`, ResumeMessage{}, nil},
	{`[{"type":"ack"}]`, ResumeMessage{}, nil},
	{`null`, ResumeMessage{}, nil},
	{`7e3`, ResumeMessage{}, nil},
	{`"ping"`, ResumeMessage{}, nil},
	{`{"type":"Ping"}`, ResumeMessage{}, nil},
	{`{"Type":"ping"}`, ResumeMessage{}, nil},
	{`{"type":["ping"]}`, ResumeMessage{}, nil},
	{`{"type":"ping","type":null}`, ResumeMessage{}, nil},
	{`{"type":"tcp_credit","connId":"c","bytes":-5}`, ResumeMessage{}, nil},

	{`{"type":"ack"}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","messages":1,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","Bytes":1,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":"1","limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":-0,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":-1,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":1.0,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":1,"limit":1e3}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":null,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":1,"bytes":null,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":9007199254740992,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":18446744073709551617,"limit":1}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"ack","bytes":1,"limit":99999999999999999999999}`, ResumeMessage{Kind: KindAck}, ErrBadAck},
	{`{"type":"resumed","bytes":1}`, ResumeMessage{Kind: KindResumed}, ErrBadAck},
	{`{"type":"session","timeout":900,"limit":65536}`, ResumeMessage{Kind: KindSession}, ErrBadAck},
	{`{"type":"session","resume":"","timeout":900,"limit":65536}`, ResumeMessage{Kind: KindSession}, ErrBadAck},
	{`{"type":"session","resume":"a,b","timeout":900,"limit":65536}`, ResumeMessage{Kind: KindSession}, ErrBadAck},
	{`{"type":"session","resume":"a","resume":7,"timeout":900,"limit":65536}`, ResumeMessage{Kind: KindSession}, ErrBadAck},
	{`{"type":"session","resume":"a","limit":65536}`, ResumeMessage{Kind: KindSession}, ErrBadAck},

	{``, ResumeMessage{}, ErrNotJSON},
	{` `, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ping"`, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ping"}}`, ResumeMessage{}, ErrNotJSON},
	{"{\"type\":\"ping\"}\x00", ResumeMessage{}, ErrNotJSON},
	{"\ufeff{\"type\":\"ping\"}", ResumeMessage{}, ErrNotJSON},
	{"{\"type\":\"ping\",\"x\":\"\xff\"}", ResumeMessage{}, ErrNotJSON},
	{"{\"type\":\"tcp_close\",\"x\":\"\xed\xa0\x80\"}", ResumeMessage{}, ErrNotJSON},
	{`{"type":"ack","bytes":01,"limit":1}`, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ack","bytes":-,"limit":1}`, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ack","bytes":1,"limit":}`, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ack","bytes":,"limit":1}`, ResumeMessage{}, ErrNotJSON},
	{`{"type":"ack","bytes":1,"limit":1`, ResumeMessage{}, ErrNotJSON},
	{"{\"type\":\"ack\",\"bytes\":1,\"lim\x88\x02\x03\xe9", ResumeMessage{}, ErrNotJSON}, // a close frame in the middle
	{`[[[[`, ResumeMessage{}, ErrNotJSON},
}

func TestResumeMessagesAreRead(t *testing.T) {
	for _, test := range resumeTexts {
		in := []byte(test.in)
		got, err := DecodeResume(in, UnitBytes)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: %+v, %v; want %+v, %v", test.in, got, err, test.want, test.err)
		}
		if string(in) != test.in {
			t.Errorf("%q was changed into %q", test.in, in)
		}
	}
	if m, err := DecodeResume(AppendAck(nil, UnitMessages, 5, 9), UnitMessages); err != nil || m != (ResumeMessage{Kind: KindAck, Position: 5, Limit: 9}) {
		t.Errorf("in messages: %+v, %v", m, err)
	}
	if _, err := DecodeResume(AppendAck(nil, UnitBytes, 5, 9), UnitMessages); err != ErrBadAck {
		t.Errorf("bytes where messages are counted: %v", err)
	}
}

// A long message is not read in the copy on the stack.
func TestLongResumeMessageIsRead(t *testing.T) {
	in := []byte(`{"type":"session","resume":"` + strings.Repeat("a", MaxResumeToken) + `","timeout":1,"limit":2,"x":[` + strings.Repeat(`{"a":"\n"},`, 1000) + `0]}`)
	before := bytes.Clone(in)
	m, err := DecodeResume(in, UnitBytes)
	if err != nil || m.Kind != KindSession || m.Token != strings.Repeat("a", MaxResumeToken) || m.Limit != 2 || !bytes.Equal(in, before) {
		t.Fatalf("%+v, %v", m, err)
	}
	in = AppendSession(nil, strings.Repeat("a", MaxResumeToken+1), 1, 2)
	if _, err := DecodeResume(in, UnitBytes); err != ErrBadAck {
		t.Fatalf("a token that is too long: %v", err)
	}
	if len(before) <= smallResume || len(in) > smallResume {
		t.Fatal("the lengths are not on both sides of the bound")
	}
}

// What goes to and fro all the time allocates nothing, and neither does what a
// client writes in its own way.
func TestResumeMessagesAllocateNothing(t *testing.T) {
	room := make([]byte, 0, 200)
	for _, in := range []string{`{"type":"ack","bytes":12345678,"limit":12399999}`, PingText, EOFText,
		`{ "limit": 12, "bytes": 3, "type": "ack" }`, `{"type":"tcp_credit","connId":"0123456789ab","bytes":131072}`} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := DecodeResume(b, UnitBytes); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", in, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { room = AppendAck(room[:0], UnitBytes, 1<<40, 1<<41) }); n != 0 {
		t.Errorf("an ack: %v allocations", n)
	}
}
