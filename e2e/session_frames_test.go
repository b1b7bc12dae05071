package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// long is longer than any buffer that a message could be kept in.
const long = 3_000_000

func TestForbiddenFramesPass(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far := sinkServer(t)
	x := []byte("x")
	unmasked := []byte{finBit | opBinary, 1, 'x'}
	long16 := append([]byte{finBit | opBinary, 0x80 | 126, 0, 1}, append(mask[:], 'x')...)
	long64 := append(binary.BigEndian.AppendUint64([]byte{finBit | opBinary, 0x80 | 127}, 1000), append(mask[:], make([]byte, 1000)...)...)
	negative := append(binary.BigEndian.AppendUint64([]byte{finBit | opBinary, 0x80 | 127}, 1<<63), mask[:]...)
	tests := []struct {
		name   string
		frames [][]byte
		code   int
	}{
		{"Unmasked", [][]byte{unmasked}, 1002},
		{"UnmaskedLater", [][]byte{frame(finBit|opBinary, x), unmasked}, 1002},
		{"RSV1", [][]byte{frame(finBit|rsv1|opBinary, x)}, 1002},
		{"RSV2", [][]byte{frame(finBit|rsv2|opBinary, x)}, 1002},
		{"RSV3OnAControlFrame", [][]byte{frame(finBit|rsv3|opPing, x)}, 1002},
		{"RSV1OnAContinuation", [][]byte{frame(opBinary, x), frame(finBit|rsv1|opContinuation, x)}, 1002},
		{"ReservedDataOpcode", [][]byte{frame(finBit|0x3, x)}, 1002},
		{"ReservedControlOpcode", [][]byte{frame(finBit|0xb, x)}, 1002},
		{"ContinuationOfNothing", [][]byte{frame(finBit|opContinuation, x)}, 1002},
		{"ContinuationAfterTheEnd", [][]byte{frame(finBit|opBinary, x), frame(opContinuation, x)}, 1002},
		{"MessageWithinAMessage", [][]byte{frame(opBinary, x), frame(finBit|opBinary, x)}, 1002},
		{"FragmentedPing", [][]byte{frame(opPing, x)}, 1002},
		{"FragmentedClose", [][]byte{frame(opClose, closePayload(1000, ""))}, 1002},
		{"PingOf126Bytes", [][]byte{frame(finBit|opPing, make([]byte, 126))}, 1002},
		{"PongOf126Bytes", [][]byte{frame(finBit|opPong, make([]byte, 126))}, 1002},
		{"CloseOf64KiB", [][]byte{frame(finBit|opClose, make([]byte, 64<<10))}, 1002},
		{"CloseOf1Byte", [][]byte{frame(finBit|opClose, x)}, 1002},
		{"CloseWithACodeNeverSent", [][]byte{frame(finBit|opClose, closePayload(1005, ""))}, 1002},
		{"CloseWithTextNotUTF8", [][]byte{frame(finBit|opClose, closePayload(1000, "\xff\xfe"))}, 1002},
		{"LengthLongerThanNeeded16", [][]byte{long16}, 1002},
		{"LengthLongerThanNeeded64", [][]byte{long64}, 1002},
		{"LengthNegative", [][]byte{negative}, 1002},
		{"Text", [][]byte{frame(finBit|opText, x)}, 1003},
		{"TextAfterBinary", [][]byte{frame(finBit|opBinary, x), frame(finBit|opText, nil)}, 1003},
		{"FragmentedText", [][]byte{frame(opText, x)}, 1003},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws := dialRaw(t, relayURL(s, far), nil)
			all := bytes.Join(tt.frames, nil)
			ws.send(t, all)
			e := ws.expectClose(t, tt.code, "")
			if e.text == "" {
				t.Error("the close has no reason")
			}
			ws.Close()

			if len(all) < 4<<10 { // the same in pieces of one byte
				ws := dialRaw(t, relayURL(s, far), nil)
				for i := range all {
					ws.send(t, all[i:i+1])
				}
				ws.expectClose(t, tt.code, "")
				ws.Close()
			}
		})
	}
}

// What came before a frame that is not allowed was allowed: it arrives.
func TestBytesBeforeAForbiddenFrameLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	_, _ = io.WriteString(conn, "greeting") // before that has come the dial may still be under way, and is given up
	if first, payload, err := ws.read(); first != finBit|opBinary || string(payload) != "greeting" || err != nil {
		t.Fatalf("what comes first is %#x, %q, %v", first, payload, err)
	}
	ws.send(t, append(frame(finBit|opBinary, []byte("before")), frame(finBit|opText, []byte("after"))...))
	got, err := io.ReadAll(conn)
	if string(got) != "before" || err != nil {
		t.Errorf("the target got %q, error %v", got, err)
	}
	conn.Close()
	ws.expectClose(t, 1003, "")
}

func TestAllowedFramesRefused(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	full := make([]byte, long)
	_, _ = newData(long).Read(full)
	for _, tt := range []struct {
		name   string
		frames [][]byte
		want   []byte
	}{
		{"Long", [][]byte{frame(finBit|opBinary, full)}, full},
		{"LongTwice", [][]byte{frame(finBit|opBinary, full), frame(finBit|opBinary, full)}, append(full[:long:long], full...)},
		{"LongInFragments", [][]byte{frame(opBinary, full[:1000]), frame(opContinuation, full[1000:70_000]), frame(finBit|opContinuation, full[70_000:])}, full},
		{"EmptyFragments", [][]byte{frame(opBinary, nil), frame(opContinuation, nil), frame(opContinuation, []byte("ab")), frame(finBit|opContinuation, nil)}, []byte("ab")},
		{"EmptyMessages", [][]byte{frame(finBit|opBinary, nil), frame(finBit|opBinary, []byte("ab")), frame(finBit|opBinary, nil)}, []byte("ab")},
		{"ControlFramesAmongFragments", [][]byte{frame(opBinary, []byte("a")), frame(finBit|opPing, []byte("p")), frame(finBit|opPong, []byte("q")), frame(finBit|opContinuation, []byte("b"))}, []byte("ab")},
		{"PongsThatNobodyAskedFor", [][]byte{frame(finBit|opPong, nil), frame(finBit|opPong, make([]byte, 125)), frame(finBit|opBinary, []byte("ab"))}, []byte("ab")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			far, conns := handServer(t)
			ws := dialRaw(t, relayURL(s, far), nil)
			conn := accept(t, conns)
			failed := make(chan error, 1)
			go func() {
				_, err := ws.Write(append(bytes.Join(tt.frames, nil), frame(finBit|opClose, closePayload(1000, ""))...))
				failed <- err
			}()
			got, err := io.ReadAll(conn)
			if !bytes.Equal(got, tt.want) || err != nil {
				t.Errorf("the target got %d bytes, want %d; error %v", len(got), len(tt.want), err)
			}
			conn.Close()
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			ws.expectClose(t, 1000, "")
		})
	}
}

// A close after a fault has to arrive at a client that goes on sending, too.
func TestCloseAfterAFaultLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0")
	far := sinkServer(t)
	for code, fault := range map[int][]byte{
		1002: frame(finBit|0x7, nil),
		1003: frame(finBit|opText, []byte("x")),
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			for range closeTries / 4 {
				ws := dial(t, s, far)
				if _, err := ws.NetConn().Write(fault); err != nil {
					t.Fatal(err)
				}
				pushed := push(ws, pushMessage)
				expectClosed(t, ws, code, "")
				ws.Close()
				<-pushed
			}
		})
	}
}

// rawClient.read fails for a frame above 64 KiB; here the target sends without
// end.
func TestServerMessageAboveItsLimit(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	ws := dialRaw(t, relayURL(s, floodServer(t)), nil)
	largest := 0
	for got := 0; got < 32<<20; {
		first, payload, err := ws.read()
		if err != nil {
			t.Fatal(err)
		}
		if first != finBit|opBinary {
			t.Fatalf("a frame that begins with %#x", first)
		}
		got += len(payload)
		largest = max(largest, len(payload))
	}
	if largest < 8<<10 {
		t.Errorf("no message of a flood is larger than %d bytes", largest)
	}
}

func TestPingUnansweredWhileTheTargetFloods(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	ws := dialRaw(t, relayURL(s, floodServer(t)), nil)
	for i := range 20 {
		ping := strings.Repeat("x", i*6) + fmt.Sprint(i)
		ws.send(t, frame(finBit|opPing, []byte(ping)))
		expectPong(t, ws, ping)
	}
}

// expectPong reads on until this pong comes.
func expectPong(t *testing.T, ws *rawClient, want string) {
	t.Helper()
	for {
		first, payload, err := ws.read()
		if err != nil {
			t.Fatalf("no pong %q: %v", want, err)
		}
		if first == finBit|opPong {
			if string(payload) != want {
				t.Fatalf("pong %q, want %q", payload, want)
			}
			return
		}
	}
}

// A client that pings while it doesn't read is read on, and finds its pong when
// it reads at last.
func TestPingUnansweredWhileTheClientDoesNotRead(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	fill(t, conn, make([]byte, 1<<20))
	ws.send(t, frame(finBit|opPing, []byte("are you there")), frame(finBit|opBinary, []byte("passes")))
	got := make([]byte, len("passes"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "passes" {
		t.Fatalf("the target got %q, error %v", got, err)
	}
	expectPong(t, ws, "are you there")
}

func TestCompressionNegotiated(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	for _, offer := range []string{
		"permessage-deflate",
		"permessage-deflate; client_max_window_bits; server_no_context_takeover, permessage-deflate",
		"x-webkit-deflate-frame, bbf-usp-protocol",
	} {
		ws := dialRaw(t, relayURL(s, echoServer(t)), http.Header{"Sec-WebSocket-Extensions": {offer}})
		if got := ws.response.Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
			t.Errorf("%q was offered and %q agreed on", offer, got)
		}
		ws.send(t, frame(finBit|opBinary, bytes.Repeat([]byte("a"), 1000)))
		if first, _, err := ws.read(); first != finBit|opBinary || err != nil {
			t.Errorf("the answer begins with %#x, error %v", first, err)
		}
		ws.Close()
	}
}

func TestSubprotocolSelection(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	_, port, _ := net.SplitHostPort(echoServer(t).String())
	for offer, want := range map[string]string{
		"":                                  "",
		"wsproxy.v1":                        "wsproxy.v1",
		"wsproxy.v1, bearer.abc":            "wsproxy.v1",
		"bearer.abc, wsproxy.v1":            "wsproxy.v1",
		"bearer.abc":                        "",
		"binary, base64":                    "binary",
		"base64, binary, wsproxy.v1":        "wsproxy.v1",
		"base64":                            "",
		"wsproxy.v2, mqtt, wsproxy.v1, mqx": "wsproxy.v1",
	} {
		header := http.Header{}
		if offer != "" {
			header.Set("Sec-WebSocket-Protocol", offer)
		}
		ws, response, err := dialWS(t, s.ws("/relay?host=127.0.0.1&port="+port), header)
		if err != nil {
			t.Fatalf("%q: %v", offer, err)
		}
		if got := response.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, "|") != want {
			t.Errorf("%q was offered and %q selected, want %q", offer, got, want)
		}
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
			t.Error(err)
		}
		ws.Close()
	}
}
