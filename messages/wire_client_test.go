package messages

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// What the proxy writes a client reads as it was meant.
func TestClientReadsWhatTheProxyWrites(t *testing.T) {
	for _, test := range []struct {
		message []byte
		want    any
	}{
		{EncodeReady(Ready{TunnelURL: "https://s.example.com", RawPort: 65535, RawHost: "raw", Credentials: true, Credit: true, Bytes: true}),
			&Ready{TunnelURL: "https://s.example.com", RawPort: 65535, RawHost: "raw", Credentials: true, Credit: true, Bytes: true}},
		{EncodeReady(Ready{TunnelURL: "u"}), &Ready{TunnelURL: "u"}},
		{EncodeOpen("0123456789ab", "192.0.2.1:5", ProtocolHTTP), &Opened{"0123456789ab", "192.0.2.1:5", ProtocolHTTP}},
		{EncodeOpen("c", "[2001:db8::1]:5", ""), &Opened{ConnID: "c", RemoteAddr: "[2001:db8::1]:5"}},
		{EncodeClose("c", CloseSlow), &Close{"c", "slow"}},
		{EncodeCredit("c", 131072), &Credit{"c", 131072}},
		{[]byte(`{"bytes":1,"later":[{"bytes":"x"}],"connId":"\u0063","type":"tcp_credit","window":"odd"}`), &Credit{"c", 1}},
		{[]byte(` {"type":"tcp_close","connId":"c","reason":null} `), &Close{ConnID: "c"}},
		{[]byte(`{"type":"tomorrow","connId":1}`), nil},
		{[]byte(`{"type":7}`), nil},
		{[]byte(`{}`), nil},
	} {
		text := string(test.message)
		got, err := DecodeServer(test.message)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s is read as %+v, %v; want %+v", text, got, err, test.want)
		}
	}
}

func TestClientRefusesNonsense(t *testing.T) {
	for _, message := range []string{
		``, `[]`, `{`, `{"type":"tcp_open"`, `{"type":"tcp_open"}x`, `{"type":"tcp_open","connId":1}`,
		`{"type":"tcp_credit","connId":"c","bytes":0}`, `{"type":"tcp_credit","connId":"c","bytes":-1}`,
		`{"type":"tcp_credit","connId":"c","bytes":1.5}`, `{"type":"tcp_credit","connId":"c","bytes":"1"}`,
		`{"type":"tunnel_ready","rawPort":65536}`, `{"type":"tunnel_ready","rawPort":-1}`,
		`{"type":"tunnel_ready","credentials":"yes"}`, `{"type":"tunnel_ready","credentials":troo}`,
		`{"type":"tunnel_ready","window":1}`, `{"type":"tcp_close","connId":"c","reason":["eof"]}`,
	} {
		if got, err := DecodeServer([]byte(message)); err == nil {
			t.Errorf("%s is read as %+v", message, got)
		}
	}
}

func TestClientClose(t *testing.T) {
	for reason, want := range map[string]string{
		"":            `{"type":"tcp_close","connId":"c"}`,
		ClientEOF:     `{"type":"tcp_close","connId":"c","reason":"eof"}`,
		ClientReset:   `{"type":"tcp_close","connId":"c","reason":"reset"}`,
		ClientRefused: `{"type":"tcp_close","connId":"c","reason":"refused"}`,
	} {
		got := EncodeClientClose("c", reason)
		if string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if m, err := DecodeControl(got); err != nil || !reflect.DeepEqual(m, &Close{"c", reason}) {
			t.Errorf("the proxy reads %s as %+v, %v", want, m, err)
		}
	}
}

func TestDataMessages(t *testing.T) {
	message := append(AppendDataHeader(nil, "0123456789ab"), "payload"...)
	if id, payload, ok := SplitData(message); !ok || string(id) != "0123456789ab" || string(payload) != "payload" {
		t.Errorf("%q is %q, %q, %t", message, id, payload, ok)
	}
	header := make([]byte, DataHeader)
	PutDataHeader(header, "0123456789ab")
	if !bytes.HasPrefix(message, header) {
		t.Errorf("%q does not begin as the proxy's do", message)
	}
	for _, message := range []string{"", "\x00\x00\x00", "\x00\x00\x00\x01", "\x00\x00\x00\x0cshort", "\xff\xff\xff\xff", "\x00\x01\x00\x00"} {
		if id, _, ok := SplitData([]byte(message)); ok {
			t.Errorf("%q has the connId %q", message, id)
		}
	}
	if id, payload, ok := SplitData(make([]byte, 4)); !ok || len(id) != 0 || len(payload) != 0 {
		t.Error("an empty connId is one that is not open, and no garbage")
	}
}

// Whatever a server sends is read as encoding/json reads it, or refused.
func FuzzDecodeServer(f *testing.F) {
	f.Add([]byte(`{"type":"tunnel_ready","tunnelUrl":"https://s.example.com","rawPort":10042,"rawHost":"h","credentials":true,"window":262144,"http":"bytes"}`))
	f.Add(EncodeOpen("0123456789ab", "192.0.2.1:5", ProtocolHTTP))
	f.Add(EncodeClose("c", CloseEOF))
	f.Add(EncodeCredit("c", math.MaxInt64))
	f.Add([]byte(`{"type":"tcp_close","connId":"\ud800\u0041","reason":7}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		valid := json.Valid(in)
		got, err := DecodeServer(bytes.Clone(in))
		if err == nil && !valid && bytes.Equal(bytes.ToValidUTF8(in, nil), in) {
			t.Fatalf("%q is no JSON and is read as %+v", in, got)
		}
		switch m := got.(type) {
		case *Credit:
			if m.Bytes <= 0 {
				t.Fatalf("%q gives %d bytes", in, m.Bytes)
			}
			checkAgain(t, EncodeCredit(m.ConnID, m.Bytes), m)
		case *Opened:
			checkAgain(t, EncodeOpen(m.ConnID, m.RemoteAddr, m.Protocol), m)
		case *Ready:
			checkAgain(t, EncodeReady(*m), m)
		}
	})
}

// checkAgain fails unless a message that was written anew is read as it was.
func checkAgain(t *testing.T, message []byte, want any) {
	t.Helper()
	if got, err := DecodeServer(message); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v is read again as %+v, %v", want, got, err)
	}
}
