package wire

import (
	"encoding/json"
	"fmt"
	"testing"

	"wsproxy/messages"
)

// Credit as the server writes it is read without package json; what looks otherwise is left to
// that, and what both read means the same.
func TestCreditIsReadAsJSONIs(t *testing.T) {
	for message, short := range map[string]bool{
		string(messages.EncodeCredit("0123456789ab", 65536)):               true,
		`{"type":"tcp_credit","connId":"c","bytes":1}`:                     true,
		`{"type":"tcp_credit","connId":"c","bytes":999999999}`:             true,
		`{"type":"tcp_credit","connId":"","bytes":7}`:                      true,
		`{"type":"tcp_credit","connId":"c","bytes":9999999999}`:            false,
		`{"type":"tcp_credit","connId":"c","bytes":01}`:                    false,
		`{"type":"tcp_credit","connId":"c","bytes":0}`:                     false,
		`{"type":"tcp_credit","connId":"c","bytes":+1}`:                    false,
		`{"type":"tcp_credit","connId":"c","bytes":1e3}`:                   false,
		`{"type":"tcp_credit","connId":"c","bytes":1,"bytes":2}`:           false,
		`{"type":"tcp_credit","connId":"\u0063","bytes":1}`:                false,
		`{"type":"tcp_credit","connId":"c","connId":"d","bytes":1}`:        false,
		`{"type":"tcp_credit","connId":"c","bytes":1} `:                    false,
		`{"type":"tcp_credit","connId":"c","bytes":1`:                      false,
		`{"type":"tcp_credit","connId":"c","bytes":}`:                      false,
		`{"type":"tcp_credit","connId":"c"}`:                               false,
		`{"type":"tcp_close","connId":"c","bytes":1}`:                      false,
		fmt.Sprintf(`{"type":"tcp_credit","connId":"%c","bytes":1}`, 0xfc): false,
	} {
		c := credit([]byte(message))
		if (c != nil) != short {
			t.Errorf("%s: read in short: %v", message, c != nil)
		}
		if c == nil {
			continue
		}
		var want messages.Credit
		if err := json.Unmarshal([]byte(message), &want); err != nil || *c != want {
			t.Errorf("%s: it is read as %+v, by JSON as %+v, %v", message, *c, want, err)
		}
	}
}

// Whatever a server says, what is read in short means what package json reads.
func FuzzCredit(f *testing.F) {
	for _, seed := range []string{
		string(messages.EncodeCredit("0123456789ab", 65536)), `{"type":"tcp_credit","connId":"c","bytes":1}`,
		`{"type":"tcp_credit","connId":"c","bytes":1,"bytes":2}`, `{"type":"tcp_credit","connId":"a\"b","bytes":1}`,
		`{"type":"tcp_credit","connId":"\u0063","bytes":1}`, ` {"bytes":1e1,"connId":"c","type":"tcp_credit"} `,
		`{"type":"tcp_credit","connId":"","bytes":","bytes":1}`, `{"type":"tcp_credit","connId":"c","bytes":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c := credit(message)
		if c == nil {
			return
		}
		want := struct {
			Type, ConnID string
			Bytes        int
		}{}
		if err := json.Unmarshal(message, &want); err != nil || want.Type != "tcp_credit" || want.Bytes <= 0 || *c != (messages.Credit{ConnID: want.ConnID, Bytes: want.Bytes}) {
			t.Errorf("%q is read as %+v, by JSON as %+v, %v", message, *c, want, err)
		}
	})
}
