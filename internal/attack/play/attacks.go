package play

import "time"

// An Attack is one of them.
type Attack struct {
	Name string
	What string // in one line
	// play begins, and returns or goes on until the attack ends. An error is one
	// that kept it from beginning.
	play func(p *playing) error
	// Brief is how long it takes in the short form; 0: as long as most.
	Brief time.Duration
	// Descriptors bounds those of the server; 0: what the deployment has.
	Descriptors uint64
}

// Attacks are all, those first that were seen to work once.
var Attacks = []Attack{
	{Name: "access-headers", What: "three services behind Access answer the handshake with headers without end", play: endlessHandshake, Brief: 1600 * time.Millisecond},
	{Name: "gossh-headers", What: "16 answers as bytes with 10 MiB of tiny header fields", play: gosshHeaders, Brief: 1600 * time.Millisecond},
	{Name: "json-headers", What: "16 http_response with 2,000,000 tiny header fields", play: jsonHeaders, Brief: 1600 * time.Millisecond},
	{Name: "headers-half", What: "2,500 connections of one address, 64 KiB of header in 10,900 fields, never ended", play: headersOf(1, false)},
	{Name: "headers-half-50", What: "the same from 50 addresses", play: headersOf(50, false)},
	{Name: "headers", What: "2,500 requests of one address with such headers, whose bodies never come", play: headersOf(1, true)},
	{Name: "headers-50", What: "the same from 50 addresses", play: headersOf(50, true)},
	{Name: "no-credit", What: "a tunnel gives no credit to 100 outside clients that send", play: noCredit},
	{Name: "bodies-trickle", What: "100 bodies of 10 MiB, the last of each at a trickle", play: bodiesTrickle, Brief: 1600 * time.Millisecond},
	{Name: "answers-unread", What: "100 answers of 10 MiB that nobody reads", play: answersUnread, Brief: 1600 * time.Millisecond},
	{Name: "raw-unread", What: "10 tunnels send just below 1 MiB to each of 99 peers that read nothing", play: rawUnread(false), Brief: 1600 * time.Millisecond},
	{Name: "raw-endless", What: "the same without an end: kernel memory", play: rawUnread(true), Brief: 1600 * time.Millisecond},
	{Name: "raw-idle", What: "110 idle connections of one address on the neighbour's raw port", play: rawIdle},
	{Name: "raw-global", What: "ten tunnels of one address with 100 raw connections each", play: rawGlobal},
	{Name: "bodies-never", What: "three addresses ask the neighbour's tunnel with bodies that never come", play: bodiesNever},
	{Name: "descriptors", What: "1,100 idle connections of one address, with 1,024 descriptors", play: idleConnections(1), Descriptors: 1024},
	{Name: "descriptors-50", What: "the same of 50 addresses", play: idleConnections(50), Descriptors: 1024},
	{Name: "log", What: "raw connections opened and closed, 8,750 a second (2,500 in the short form): lines of log", play: rawChurn},

	{Name: "client-unread", What: "4 tunnels whose clients read nothing, with 100 outside senders and 20 large bodies each", play: clientUnread},
	{Name: "tunnel-churn", What: "50 tunnels a second, opened and dropped", play: tunnelChurn},
	{Name: "relay-up", What: "100 relays whose clients send and whose targets never read", play: relayUnread(true)},
	{Name: "relay-down", What: "100 relays whose targets send and whose clients never read", play: relayUnread(false)},
	{Name: "frames", What: "pings, fragments and tiny frames on relays and tunnels, no answer read", play: frames},
	{Name: "pipelined", What: "requests one behind the other on 100 connections, no answer read", play: pipelined},
	{Name: "credit-flood", What: "tcp_credit and tcp_close of known, unknown and absurd values", play: creditFlood},
	{Name: "nesting", What: "control messages of 20 MiB that nest arrays and objects", play: nesting, Brief: 1600 * time.Millisecond},
	{Name: "handshakes", What: "2,000 handshakes of 50 addresses that are never finished", play: handshakes},
	{Name: "behind-handshake", What: "64 KiB behind each of many handshakes", play: behindHandshake},
	{Name: "queue", What: "2,500 requests of 10 addresses wait, each with 60 KiB of header", play: queue},
	{Name: "headers-kept", What: "60 KiB of legal header on 800 connections of 4 addresses, never ended", play: headersKept},
	{Name: "bytes-abandoned", What: "1,000 requests a second to a client that gets HTTP as bytes and reads nothing, each given up at once", play: bytesAbandoned},
	{Name: "bytes-downloads", What: "400 downloads read slowly, of 4 clients that overrun their credit", play: bytesDownloads},
	{Name: "bytes-upgraded", What: "600 idle upgraded connections want the HTTP slots of 4 tunnels", play: bytesUpgraded},
	{Name: "bytes-trickle", What: "1,600 bodies of a byte a second, interim answers, data and ends for what there is not", play: bytesTrickle},

	{Name: "resume-takeups", What: "20 sessions are taken up without a pause, and nobody reads or closes what they had, with 1,024 descriptors", play: resumeTakeUps, Descriptors: 1024},
	{Name: "resume-detached", What: "5,000 sessions of 500 addresses wait for a WebSocket, with what their targets have sent, and then give way to others", play: resumeDetached, Brief: 3 * time.Second},
	{Name: "resume-unacked", What: "100 sessions read all that their targets send, and acknowledge nothing", play: resumeUnread(true)},
	{Name: "resume-unread", What: "100 sessions grant 2^53 - 1 bytes and read nothing", play: resumeUnread(false)},
	{Name: "resume-tiny", What: "40 sessions send messages of one byte, in two frames, and of none, to targets that read nothing", play: resumeTiny, Brief: 3 * time.Second},
	{Name: "resume-guesses", What: "1,500 sessions a second that there are not are asked for, of 50 addresses", play: resumeGuesses},
	{Name: "resume-half", What: "2,000 requests to take a session up, half of them never ended, half of their answers never answered", play: resumeHalf},
}

// Named returns the attack of a name.
func Named(name string) (Attack, bool) {
	for _, a := range Attacks {
		if a.Name == name {
			return a, true
		}
	}
	return Attack{}, false
}
