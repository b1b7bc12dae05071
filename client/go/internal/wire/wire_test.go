package wire

import (
	"bytes"
	"reflect"
	"testing"

	"wsproxy/messages"
)

// What the proxy writes a client reads as it was meant.
func TestClientReadsWhatTheProxyWrites(t *testing.T) {
	for _, test := range []struct {
		message []byte
		want    any
	}{
		{messages.EncodeReady(messages.Ready{TunnelURL: "https://s.example.com", RawPort: 65535, RawHost: "raw", Credentials: true, Credit: true, Bytes: true}),
			&messages.Ready{TunnelURL: "https://s.example.com", RawPort: 65535, RawHost: "raw", Credentials: true, Credit: true, Bytes: true}},
		{messages.EncodeReady(messages.Ready{TunnelURL: "u"}), &messages.Ready{TunnelURL: "u"}},
		{messages.EncodeOpen("0123456789ab", "192.0.2.1:5", messages.ProtocolHTTP), &Opened{"0123456789ab", "192.0.2.1:5", messages.ProtocolHTTP}},
		{messages.EncodeOpen("c", "[2001:db8::1]:5", ""), &Opened{ConnID: "c", RemoteAddr: "[2001:db8::1]:5"}},
		{messages.EncodeClose("c", messages.CloseSlow), &messages.Close{ConnID: "c", Reason: "slow"}},
		{messages.EncodeCredit("c", 131072), &messages.Credit{ConnID: "c", Bytes: 131072}},
		{[]byte(`{"bytes":1,"later":[{"bytes":"x"}],"connId":"\u0063","type":"tcp_credit","window":"odd"}`), &messages.Credit{ConnID: "c", Bytes: 1}},
		{[]byte(` {"type":"tcp_close","connId":"c","reason":null} `), &messages.Close{ConnID: "c"}},
		{[]byte(`{"type":"auth_expires","in":60}`), &Expires{}},
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
		"":                     `{"type":"tcp_close","connId":"c"}`,
		messages.ClientEOF:     `{"type":"tcp_close","connId":"c","reason":"eof"}`,
		messages.ClientReset:   `{"type":"tcp_close","connId":"c","reason":"reset"}`,
		messages.ClientRefused: `{"type":"tcp_close","connId":"c","reason":"refused"}`,
	} {
		got := EncodeClose("c", reason)
		if string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if m, err := messages.DecodeControl(got); err != nil || !reflect.DeepEqual(m, &messages.Close{ConnID: "c", Reason: reason}) {
			t.Errorf("the proxy reads %s as %+v, %v", want, m, err)
		}
	}
}

func TestDataMessages(t *testing.T) {
	message := append(AppendDataHeader(nil, "0123456789ab"), "payload"...)
	if id, payload, ok := SplitData(message); !ok || string(id) != "0123456789ab" || string(payload) != "payload" {
		t.Errorf("%q is %q, %q, %t", message, id, payload, ok)
	}
	header := make([]byte, messages.DataHeader)
	messages.PutDataHeader(header, "0123456789ab")
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
